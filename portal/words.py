"""How the portal writes numbers, sizes and times. Pure but for the reader's language; plain text comes back.

Digits are grouped by a narrow no-break space, and the same space keeps a number with its unit.
"""

from collections.abc import Callable, Hashable, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache, wraps
from typing import TypeVar

from django.utils import formats, timezone
from django.utils.translation import get_language, gettext_lazy, ngettext
from django.utils.translation import gettext as _

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)
THIN = "\u202f"
AGO_TEXTS = {
    "now": gettext_lazy("just now"),
    "seconds": gettext_lazy("%s s ago"),
    "minutes": gettext_lazy("%s min ago"),
    "hours": gettext_lazy("%s h ago"),
    "days": gettext_lazy("%s d ago"),
    "in_seconds": gettext_lazy("in %s s"),
    "in_minutes": gettext_lazy("in %s min"),
    "in_hours": gettext_lazy("in %s h"),
    "in_days": gettext_lazy("in %s d"),
}
AGO_STEPS = (("days", 86_400), ("hours", 3_600), ("minutes", 60), ("seconds", 1))
A_MONTH = 30 * 86_400  # past that, the date says more than a count of days
SIZES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def kept_by_language(write: Callable[[K], T]) -> Callable[[K], T]:
    """What was written last is kept, in each language: lists write the same figures and days for each of their readers."""

    @lru_cache(maxsize=4096)
    def written(_language: str | None, thing: K) -> T:
        return write(thing)

    @wraps(write)
    def in_my_language(thing: K) -> T:
        return written(get_language(), thing)

    return in_my_language


def grouped(number: int | Decimal, places: int = 0) -> str:
    """1234567 → "1 234 567"; with `places`, that many decimals after the language's own mark."""
    whole, _dot, fraction = f"{number:,.{places}f}".partition(".")
    whole = whole.replace(",", THIN).replace("-", "\N{MINUS SIGN}")
    mark = formats.get_format("DECIMAL_SEPARATOR", use_l10n=True)
    return f"{whole}{mark}{fraction}" if fraction else whole


def figure(number: int | float | Decimal) -> str:
    """A measured amount: whole as it is, else with two decimals."""
    amount = Decimal(str(number))
    return grouped(amount, 0 if amount == amount.to_integral_value() else 2)


def named(things: Sequence[object], most: int) -> str:
    """The first ones by name, and how many more there are: nobody reads fifty."""
    first, more = ", ".join(str(one) for one in things[:most]), len(things) - most
    if more <= 0:
        return first
    return ngettext("%(first)s and %(count)s more", "%(first)s and %(count)s more", more) % {
        "first": first,
        "count": grouped(more),
    }


def filesize(size: int) -> str:
    """Bytes → "1.2 MiB": three digits at most, because nobody reads more."""
    value, unit = Decimal(size), SIZES[0]
    for larger in SIZES[1:]:
        if value < 1024:
            break
        value, unit = value / 1024, larger
    places = 1 if unit != "B" and value < 100 else 0
    return f"{grouped(value, places)}{THIN}{unit}"


def duration(length: timedelta | int) -> str:
    """Seconds → "45 s", "1 h 20 min", "2 d 3 h": the two largest units."""
    seconds = int(length.total_seconds() if isinstance(length, timedelta) else length)
    minutes, seconds = divmod(max(seconds, 0), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, _("d")), (hours, _("h")), (minutes, _("min")), (seconds, _("s"))]
    first = next((i for i, (count, _unit) in enumerate(parts) if count), len(parts) - 1)
    shown = [part for part in parts[first : first + 2] if part[0] or part is parts[first]]
    return " ".join(f"{grouped(count)}{THIN}{unit}" for count, unit in shown)


@kept_by_language
def day(which: date) -> str:
    """ "30 June 2026", as the reader's language writes it."""
    return formats.date_format(which, "DATE_FORMAT")


@kept_by_language
def short_day(which: date) -> str:
    return formats.date_format(which, "SHORT_DATE_FORMAT")


def ago(moment: datetime, now: datetime | None = None) -> str:
    """An aware time → "3 min ago", "in 2 h", or its date when that is more than a month away."""
    seconds = int(((now or timezone.now()) - moment).total_seconds())
    if abs(seconds) > A_MONTH:
        return day(timezone.localdate(moment))
    if seconds == 0:
        return str(AGO_TEXTS["now"])
    name, size = next(step for step in AGO_STEPS if abs(seconds) >= step[1])
    return str(AGO_TEXTS[name if seconds > 0 else f"in_{name}"]) % (abs(seconds) // size)


def clock(moment: datetime) -> str:
    """An aware time → "14:02", with the day where it is not today."""
    here = timezone.localtime(moment)
    today = here.date() == timezone.localdate()
    return formats.date_format(here, "TIME_FORMAT" if today else "DATETIME_FORMAT")


def exact(moment: datetime) -> str:
    """An aware time → "2026-11-23 14:02:05 UTC", in the zone that the site shows."""
    return f"{timezone.localtime(moment):%Y-%m-%d %H:%M:%S %Z}"
