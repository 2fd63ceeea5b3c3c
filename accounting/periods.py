"""Which months? A period is whole UTC months, both ends included. Pure but for the reader's language."""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

MONTH = re.compile(r"([0-9]{4})-([0-9]{2})\Z", re.ASCII)
FIRST_YEAR, LAST_YEAR = 2000, 2100
LONGEST = 120  # months


@dataclass(frozen=True, order=True)
class Month:
    year: int
    month: int

    @property
    def first(self) -> date:
        return date(self.year, self.month, 1)

    @property
    def last(self) -> date:
        return date(self.year, self.month, monthrange(self.year, self.month)[1])

    def plus(self, months: int) -> Month:
        year, month = divmod(self.year * 12 + self.month - 1 + months, 12)
        return Month(year, month + 1)

    def __str__(self) -> str:
        return f"{self.year:04}-{self.month:02}"

    @property
    def words(self) -> str:
        return date_format(self.first, "YEAR_MONTH_FORMAT")

    @property
    def short_words(self) -> str:
        return date_format(self.first, pgettext("how a table writes a month, in Django's date format", "M Y"))


def month_of(day: date) -> Month:
    return Month(day.year, day.month)


def parse_month(text: str) -> Month:
    """ "2026-03" → March 2026. Raises ValueError for anything else, or for years nobody means."""
    found = MONTH.match(text)
    if found is None:
        raise ValueError(text)
    month = Month(int(found[1]), int(found[2]))
    if not (1 <= month.month <= 12 and FIRST_YEAR <= month.year <= LAST_YEAR):
        raise ValueError(text)
    return month


@dataclass(frozen=True)
class Period:
    first: Month
    last: Month

    @property
    def start(self) -> date:
        return self.first.first

    @property
    def end(self) -> date:
        """The last day."""
        return self.last.last

    @property
    def length(self) -> int:
        """In months."""
        return (self.last.year - self.first.year) * 12 + self.last.month - self.first.month + 1

    @property
    def months(self) -> Iterator[Month]:
        return (self.first.plus(n) for n in range(self.length))

    @property
    def before(self) -> Period:
        """The period of the same length that ends where this one begins."""
        return Period(self.first.plus(-self.length), self.first.plus(-1))

    @property
    def query(self) -> str:
        return f"from={self.first}&to={self.last}"

    @property
    def words(self) -> str:
        if self.first == self.last:
            return self.first.words
        return _("%(first)s to %(last)s") % {"first": self.first.words, "last": self.last.words}


@dataclass(frozen=True)
class Preset:
    label: str
    period: Period


def last_twelve(today: date) -> Period:
    """What a report shows if nobody said otherwise."""
    return Period(month_of(today).plus(-11), month_of(today))


def presets(today: date) -> list[Preset]:
    now = month_of(today)
    quarter = Month(now.year, (now.month - 1) // 3 * 3 + 1)
    return [
        Preset(_("This month"), Period(now, now)),
        Preset(_("Last month"), Period(now.plus(-1), now.plus(-1))),
        Preset(_("This quarter"), Period(quarter, quarter.plus(2))),
        Preset(_("This year"), Period(Month(now.year, 1), Month(now.year, 12))),
        Preset(_("Last 12 months"), last_twelve(today)),
    ]
