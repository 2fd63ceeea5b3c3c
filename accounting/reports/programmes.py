"""What did a programme use, by institution and month?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from django.db.models import (
    Case,
    CharField,
    Count,
    F,
    Min,
    QuerySet,
    Sum,
    Value,
    When,
)
from django.db.models.functions import Cast, Concat, TruncMonth

from accounting.models import Collection, LedgerEntry, UsageDay
from accounting.periods import Month, Period, month_of
from accounting.units import percent
from portal.models import Funder, User
from portal.models.people import CENTRE_ROLES

FEW = 3  # a cell of fewer people is merged where people must not be told apart

FEW = 3  # a cell of fewer people is merged where people must not be told apart


@dataclass(frozen=True)
class Scope:
    """Whose projects a reader may sum up. `funders` empty: all, with accounts that no project owns."""

    funders: tuple[Funder, ...] = ()

    @property
    def is_everything(self) -> bool:
        return not self.funders


def scope_of(user: User) -> Scope:
    """The centre reads everything; a funder what it pays for. Ask only with Permission.SEE_PROGRAMME."""
    if user.roles & {*CENTRE_ROLES}:
        return Scope()
    return Scope(tuple(m.funder for m in user.current_memberships if m.funder))


@dataclass(frozen=True)
class Cell:
    """GPU-seconds of one row in one month; `provisional` is the part that may still change."""

    gpu_seconds: int = 0
    provisional: int = 0

    def __add__(self, other: Cell) -> Cell:
        return Cell(self.gpu_seconds + other.gpu_seconds, self.provisional + other.provisional)


Kind = Literal["institution", "few", "unassigned"]


@dataclass(frozen=True)
class ProgrammeRow:
    """`name`: the institution's, or the account's that no project owns; empty for the merged row."""

    kind: Kind
    name: str
    by_month: dict[Month, Cell]
    merged_months: frozenset[Month] = frozenset()  # of an institution: its use is in the merged row

    @property
    def total(self) -> Cell:
        return sum(self.by_month.values(), Cell())


@dataclass(frozen=True)
class Programme:
    """GPU-hours by institution and month, with the award beside them."""

    period: Period
    rows: tuple[ProgrammeRow, ...]  # institutions by use, then the merged row, then unassigned accounts
    awarded: int  # granted to allocations that run at some time in the period
    used_before: int  # in the period of the same length before
    as_of: datetime
    complete_until: datetime | None  # up to here all of the scheduler's records were read, on every cluster

    @property
    def total(self) -> Cell:
        return sum((row.total for row in self.rows), Cell())

    @property
    def by_month(self) -> dict[Month, Cell]:
        return {
            month: sum((row.by_month.get(month, Cell()) for row in self.rows), Cell())
            for month in self.period.months
        }

    @property
    def largest(self) -> int:
        """What a full bar means, where rows are ranked with bars."""
        return max((row.total.gpu_seconds for row in self.rows), default=1)

    @property
    def share(self) -> Decimal | None:
        """Percent of the award."""
        return percent(self.total.gpu_seconds, self.awarded) if self.awarded else None

    @property
    def change(self) -> Decimal | None:
        """Percent against the period before; None where nothing was used then."""
        if not self.used_before:
            return None
        return percent(self.total.gpu_seconds - self.used_before, self.used_before)


def programme(scope: Scope, period: Period, *, as_of: datetime) -> Programme:
    """Four queries. Where the scope is a funder's, cells of fewer than three people are merged into one row."""
    return Programme(
        period=period,
        rows=tuple(_programme_rows(scope, period)),
        awarded=_awarded(scope, period),
        used_before=_days(scope, period.before).aggregate(sum=Sum("gpu_seconds", default=0))["sum"],
        as_of=as_of,
        complete_until=_complete_until(scope),
    )


def _days(scope: Scope, period: Period) -> QuerySet[UsageDay]:
    days = UsageDay.objects.filter(day__range=(period.start, period.end))
    return days if scope.is_everything else days.filter(project__funder__in=scope.funders)


def _programme_rows(scope: Scope, period: Period) -> list[ProgrammeRow]:
    cells: dict[tuple[Kind, str], dict[Month, Cell]] = defaultdict(dict)
    merged: dict[Month, Cell] = defaultdict(Cell)
    hidden: dict[str, set[Month]] = defaultdict(set)
    for row in _cells(_days(scope, period)):
        month, cell = month_of(row["month"]), Cell(row["sum"], row["provisional"])
        institution = row["institution"]
        if institution is None:
            cells["unassigned", row["unowned"]][month] = cell
        elif scope.is_everything or min(row["people"], row["posix_users"]) >= FEW:
            cells["institution", institution][month] = cell
        else:
            merged[month] += cell
            hidden[institution].add(month)
    rows = [
        ProgrammeRow(kind, name, by_month, frozenset(hidden[name]) if kind == "institution" else frozenset())
        for (kind, name), by_month in cells.items()
    ]
    if merged:
        rows.append(ProgrammeRow("few", "", dict(merged)))
    order = {"institution": 0, "few": 1, "unassigned": 2}
    return sorted(rows, key=lambda row: (order[row.kind], -row.total.gpu_seconds, row.name))


def _cells(days: QuerySet[UsageDay]) -> Iterable[Mapping[str, Any]]:
    """By institution (or unowned account) and month. `people` and `posix_users` can each count somebody twice, never miss one."""
    who = Case(
        When(person=None, then=Concat(Value("u"), "user", output_field=CharField())),
        default=Concat(Value("p"), Cast("person", CharField()), output_field=CharField()),
    )
    return (
        days.values(
            institution=F("project__lab__institution__name"),
            unowned=Case(When(project=None, then=F("account")), default=Value("")),
            month=TruncMonth("day"),
        )
        .order_by()
        .annotate(
            sum=Sum("gpu_seconds"),
            provisional=Sum("provisional_gpu_seconds"),
            people=Count(who, distinct=True),
            posix_users=Count("user", distinct=True),
        )
    )


def _awarded(scope: Scope, period: Period) -> int:
    entries = LedgerEntry.objects.filter(
        usage_record=None, allocation__start__lte=period.end, allocation__end__gte=period.start
    )
    if not scope.is_everything:
        entries = entries.filter(allocation__project__funder__in=scope.funders)
    total: int = entries.aggregate(sum=Sum("gpu_seconds", default=0))["sum"]
    return total


def _complete_until(scope: Scope) -> datetime | None:
    watermarks = Collection.objects.all()
    if not scope.is_everything:
        watermarks = watermarks.filter(cluster__allocations__project__funder__in=scope.funders)
    until: datetime | None = watermarks.aggregate(until=Min("complete_until"))["until"]
    return until
