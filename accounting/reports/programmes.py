"""What did a programme use, by institution and month?"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cached_property
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

from accounting.models import Cluster, Collection, LedgerEntry, LedgerSum, UsageCorrection, UsageDay
from accounting.periods import Month, Period, month_of
from accounting.reports.kept import kept, usage_mark
from accounting.units import percent
from portal.models import Funder, Institution, Project, User
from portal.models.people import CENTRE_ROLES

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

    @cached_property
    def total(self) -> Cell:
        return sum(self.by_month.values(), Cell())


@dataclass(frozen=True)
class Headline:
    """The two figures of a programme that Home shows."""

    awarded: int
    used: int


@dataclass(frozen=True)
class Usage:
    """GPU-seconds by institution and month."""

    period: Period
    rows: tuple[ProgrammeRow, ...]  # institutions by use, then the merged row, then unassigned accounts
    before: int  # in the period of the same length before

    @cached_property
    def total(self) -> Cell:
        return sum((row.total for row in self.rows), Cell())

    @cached_property
    def by_month(self) -> dict[Month, Cell]:
        return {
            month: sum((row.by_month.get(month, Cell()) for row in self.rows), Cell())
            for month in self.period.months
        }

    @cached_property
    def largest(self) -> int:
        """What a full bar means, where rows are ranked with bars."""
        return max((row.total.gpu_seconds for row in self.rows), default=1)


@dataclass(frozen=True)
class Programme:
    """What was used, with the award beside it."""

    period: Period
    usage: Usage
    awarded: int  # granted to allocations that run at some time in the period
    as_of: datetime
    complete_until: datetime | None  # up to here all of the scheduler's records were read, on every cluster
    not_measured: tuple[str, ...] = ()  # clusters whose usage can't be read: they are not in it, not zero

    @property
    def share(self) -> Decimal | None:
        """Percent of the award."""
        return percent(self.usage.total.gpu_seconds, self.awarded) if self.awarded else None

    @property
    def change(self) -> Decimal | None:
        """Percent against the period before; None where nothing was used then."""
        before = self.usage.before
        return percent(self.usage.total.gpu_seconds - before, before) if before else None


def programme(scope: Scope, period: Period, *, as_of: datetime) -> Programme:
    """Eight queries; five while no usage changes; one more for a funder. A funder reads cells of fewer than three people as one row."""
    names = tuple(Institution.objects.order_by("pk").values_list("name", flat=True))
    return Programme(
        period=period,
        usage=_usage(scope, period, _mark(scope), names),
        awarded=_awarded(scope, period),
        as_of=as_of,
        complete_until=_complete_until(scope),
        not_measured=_not_measured(scope),
    )


def headline(scope: Scope, period: Period) -> Headline:
    """Three queries; two while no usage changes."""
    return Headline(_awarded(scope, period), _used(scope, period, _mark(scope)))


Mark = tuple[int, ...]


def _mark(scope: Scope) -> Mark:
    """Of the usage that a scope sums up, see reports.kept: what was recorded, and whose it is."""
    if scope.is_everything:
        return (usage_mark(),)
    return (usage_mark(), *Project.objects.filter(funder__in=scope.funders).ids())


@kept
def _usage(scope: Scope, period: Period, mark: Mark, names: tuple[str, ...]) -> Usage:
    """`names`: of all institutions; the rows bear them."""
    return Usage(period, tuple(_programme_rows(scope, period)), _used(scope, period.before, mark))


@kept
def _used(scope: Scope, period: Period, mark: Mark) -> int:
    days, late = (
        rows.order_by().values_list(Value(0)).annotate(sum=Sum("gpu_seconds", default=0))
        for rows in (_days(scope, period), corrections(scope, period))
    )
    return sum(seconds for _all, seconds in days.union(late, all=True))


def _days(scope: Scope, period: Period) -> QuerySet[UsageDay]:
    days = UsageDay.objects.filter(day__range=(period.start, period.end))
    return days if scope.is_everything else days.filter(project__funder__in=scope.funders)


def corrections(scope: Scope, period: Period) -> QuerySet[UsageCorrection]:
    """What was entered in the period about months that were closed before."""
    found = UsageCorrection.objects.filter(dated__range=(period.start, period.end))
    return found if scope.is_everything else found.filter(project__funder__in=scope.funders)


def _programme_rows(scope: Scope, period: Period) -> list[ProgrammeRow]:
    cells: dict[tuple[Kind, str], dict[Month, Cell]] = defaultdict(dict)
    merged: dict[Month, Cell] = defaultdict(Cell)
    hidden: dict[str, set[Month]] = defaultdict(set)
    for (institution, unowned, month), found in _found(scope, period).items():
        if institution is None:
            cells["unassigned", unowned][month] = found.cell
        elif scope.is_everything or found.people >= FEW:
            cells["institution", institution][month] = found.cell
        else:
            merged[month] += found.cell
            hidden[institution].add(month)
    rows = [
        ProgrammeRow(kind, name, by_month, frozenset(hidden[name]) if kind == "institution" else frozenset())
        for (kind, name), by_month in cells.items()
    ]
    if merged:
        rows.append(ProgrammeRow("few", "", dict(merged)))
    order = {"institution": 0, "few": 1, "unassigned": 2}
    return sorted(rows, key=lambda row: (order[row.kind], -row.total.gpu_seconds, row.name))


@dataclass(frozen=True)
class Found:
    """What was used in a cell, and by how many at least: somebody may be counted in days and corrections."""

    cell: Cell = Cell()
    people: int = 0

    def __add__(self, other: Found) -> Found:
        return Found(self.cell + other.cell, max(self.people, other.people))


def _found(scope: Scope, period: Period) -> dict[tuple[str | None, str, Month], Found]:
    """By institution, unowned account and month: the days, and the corrections that are dated in it. Two queries."""
    cells_of = _cells if scope.is_everything else _cells_with_people
    found: dict[tuple[str | None, str, Month], Found] = defaultdict(Found)
    days = cells_of(_days(scope, period), "day").annotate(provisional=Sum("provisional_gpu_seconds"))
    for row in (*days, *cells_of(corrections(scope, period), "dated")):
        people = 0 if scope.is_everything else min(row["people"], row["posix_users"])
        cell = Cell(row["sum"], row.get("provisional", 0))
        found[row["institution"], row["unowned"], month_of(row["month"])] += Found(cell, people)
    return found


def _cells(rows: QuerySet[Any], day: str) -> Any:
    """By institution (or unowned account) and the month of that field."""
    return (
        rows.values(
            institution=F("project__lab__institution__name"),
            unowned=Case(When(project=None, then=F("account")), default=Value("")),
            month=TruncMonth(day),
        )
        .order_by()
        .annotate(sum=Sum("gpu_seconds"))
    )


def _cells_with_people(rows: QuerySet[Any], day: str) -> Any:
    """The same; `people` and `posix_users` can each count somebody twice, never miss one. Counting them takes its time."""
    who = Case(
        When(person=None, then=Concat(Value("u"), "user", output_field=CharField())),
        default=Concat(Value("p"), Cast("person", CharField()), output_field=CharField()),
    )
    return _cells(rows, day).annotate(
        people=Count(who, distinct=True), posix_users=Count("user", distinct=True)
    )


def _awarded(scope: Scope, period: Period) -> int:
    sums = LedgerSum.objects.filter(
        of_runs=False, allocation__start__lte=period.end, allocation__end__gte=period.start
    )
    if not scope.is_everything:
        sums = sums.filter(allocation__project__funder__in=scope.funders)
    sums = sums.exclude(kind=LedgerEntry.Kind.EXPIRY)  # it was awarded all the same
    total: int = sums.aggregate(sum=Sum("gpu_seconds", default=0))["sum"]
    return total


def _complete_until(scope: Scope) -> datetime | None:
    watermarks = Collection.objects.all()
    if not scope.is_everything:
        watermarks = watermarks.filter(cluster__allocations__project__funder__in=scope.funders)
    until: datetime | None = watermarks.aggregate(until=Min("complete_until"))["until"]
    return until


def _not_measured(scope: Scope) -> tuple[str, ...]:
    clusters = Cluster.objects.filter(accepts_jobs=True).exclude(capability__measured=True)
    if not scope.is_everything:
        clusters = clusters.filter(allocations__project__funder__in=scope.funders).distinct()
    return tuple(clusters.order_by("title").values_list("title", flat=True))
