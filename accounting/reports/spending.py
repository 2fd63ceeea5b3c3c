"""Who uses a project's hours, how fast, and what happened on an allocation?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from django.db.models import (
    Case,
    F,
    Min,
    Q,
    QuerySet,
    Subquery,
    Sum,
    Value,
    When,
)
from django.db.models.functions import Coalesce, TruncDate

from accounting.models import Allocation, LedgerEntry, LedgerSum, UsageCorrection, UsageDay
from accounting.reports.balances import AllocationStanding
from accounting.reports.kept import kept
from accounting.units import percent
from portal.models import Membership, Project, User

# ── Who uses a project's hours? ──────────────────────────────────────────────


@dataclass(frozen=True)
class Share:
    """One person's part. `name` is the POSIX user where the portal does not know the person."""

    name: str
    gpu_seconds: int
    percent: Decimal
    others: int = 0  # how many people this sums up


def shares(project: Project, *, most: int = 10) -> list[Share]:
    """Device-seconds by person, of all time, the largest first; then, once there is any, the lab's people who used nothing.

    Who is past `most` is summed up in the last, without a name.
    """
    used = _used_by_person(project)
    if not used:
        return []
    total = sum(seconds for _person, _posix, seconds in used)
    everybody = [*used, *((person, "", 0) for person in _idle(project, {person for person, _, _ in used}))]
    shown, others = (everybody[:most], everybody[most:]) if len(everybody) > most + 1 else (everybody, [])
    people = [person for person, _posix, _seconds in shown if person]
    names = dict(User.objects.filter(pk__in=people).values_list("pk", "name"))
    found = [
        Share(names.get(person, posix) if person else posix, seconds, percent(seconds, total))
        for person, posix, seconds in shown
    ]
    rest = sum(seconds for _person, _posix, seconds in others)
    return [*found, Share("", rest, percent(rest, total), len(others))] if others else found


def _used_by_person(project: Project) -> list[tuple[int | None, str, int]]:
    """(pk, POSIX user where nobody is known, GPU-seconds), with what came after a month was closed; most first."""
    posix = Case(When(person=None, then=F("user")), default=Value(""))
    days, later = (
        model.objects.filter(project=project)
        .order_by()
        .values_list("person", posix)
        .annotate(sum=Sum("gpu_seconds"))
        for model in (UsageDay, UsageCorrection)
    )
    found: dict[tuple[int | None, str], int] = defaultdict(int)
    for person, user, seconds in days.union(later, all=True):
        found[person, user] += seconds
    return sorted(((*who, seconds) for who, seconds in found.items()), key=lambda one: -one[2])


def _idle(project: Project, active: set[int | None]) -> list[int]:
    """Those who work in the project's lab now and used nothing, by name."""
    people = Membership.objects.current().filter(lab=project.lab_id).order_by("user__name", "user")
    return [person for person in dict.fromkeys(people.values_list("user", flat=True)) if person not in active]


# ── How fast are the hours used? ─────────────────────────────────────────────


@dataclass(frozen=True)
class Burn:
    """What is left of an allocation, day by day from its start to today, and how long it lasts at the recent pace."""

    days: tuple[date, ...]
    left: tuple[int, ...]
    granted: int
    lasts_from: date | None = None  # at the faster of the 7-day and the 28-day pace
    lasts_until: date | None = None  # at the slower one

    @property
    def has_forecast(self) -> bool:
        return self.lasts_from is not None


def burn(standing: AllocationStanding) -> Burn:
    """One query. No forecast from fewer than seven days, or where nothing is used or left."""
    allocation, today = standing.allocation, min(standing.on, standing.allocation.end)
    used = _used_by_day(allocation, standing.balance.runs)
    days = [allocation.start + timedelta(days=n) for n in range((today - allocation.start).days + 1)]
    left, rest = (
        [],
        standing.balance.budget - sum(amount for day, amount in used.items() if day < allocation.start),
    )
    for day in days:
        rest -= used.get(day, 0)
        left.append(rest)
    soon, late = _lasts(used, standing, len(days))
    return Burn(tuple(days), tuple(left), standing.balance.budget, soon, late)


@kept
def _used_by_day(allocation: Allocation, runs: int) -> Mapping[date, int]:
    """`runs` is the mark."""
    rows = (
        allocation.entries.filter(usage_record__isnull=False)
        .order_by()
        .values(day=TruncDate(Coalesce("usage_record__held_until", "at")))
        .annotate(sum=Sum("gpu_seconds"))
    )
    return {row["day"]: -row["sum"] for row in rows}


def _lasts(
    used: Mapping[date, int], standing: AllocationStanding, days: int
) -> tuple[date | None, date | None]:
    if days < 7 or standing.balance.available <= 0 or not standing.is_active:
        return None, None
    paces = []
    for span in (7, min(28, days)):
        since = standing.on - timedelta(days=span)
        paces.append(
            Decimal(sum(amount for day, amount in used.items() if since < day <= standing.on)) / span
        )
    if min(paces) <= 0:
        return None, None
    ends = sorted(
        standing.on + timedelta(days=min(int(standing.balance.available / pace), 36_500)) for pace in paces
    )
    return ends[0], ends[1]


# ── What happened on an allocation? ──────────────────────────────────────────


@dataclass(frozen=True)
class Statement:
    """Sums of an allocation's entries, as a bank would write them. Opening is zero: an allocation begins with its grant."""

    granted: int
    charged: int  # as a negative number
    corrected: int  # adjustments and refunds
    moved: int  # transfers and expiry
    closing: int
    first_at: datetime | None
    last_at: datetime | None


def statement(allocation: Allocation) -> Statement:
    kinds = LedgerEntry.Kind

    def total(*wanted: str) -> Sum:
        return Sum("gpu_seconds", filter=Q(kind__in=wanted), default=0)

    def at(*order: str) -> Min:
        return Min(Subquery(allocation.entries.order_by(*order).values("at")[:1]))  # found by an index

    return Statement(
        **allocation.sums.aggregate(
            granted=total(kinds.GRANT),
            charged=total(kinds.CHARGE),
            corrected=total(kinds.ADJUSTMENT, kinds.REFUND),
            moved=total(kinds.TRANSFER, kinds.EXPIRY),
            closing=Sum("gpu_seconds", default=0),
            first_at=at("at", "pk"),
            last_at=at("-at", "-pk"),
        )
    )


@dataclass(frozen=True)
class StatementLine:
    """One entry, and where the allocation stood after it."""

    entry: LedgerEntry
    balance_after: int


def entries(allocation: Allocation) -> QuerySet[LedgerEntry]:
    """What a statement lists, newest first."""
    return allocation.entries.select_related("usage_record__person", "actor", "cites").order_by("-at", "-pk")


def statement_lines(page: Sequence[LedgerEntry]) -> list[StatementLine]:
    """Some entries in a row of those, with the balance after each: what all sum up to, less what is newer. One query."""
    if not page:
        return []
    newest = page[0]
    theirs = LedgerEntry.objects.filter(allocation=newest.allocation_id, at__gte=newest.at).order_by()
    newer = theirs.exclude(at=newest.at, pk__lte=newest.pk).values("allocation")
    since = Coalesce(Subquery(newer.annotate(sum=Sum("gpu_seconds")).values("sum")), 0)
    balance = LedgerSum.objects.filter(allocation=newest.allocation_id).aggregate(
        now=Sum("gpu_seconds") - since
    )["now"]
    lines = []
    for entry in page:
        lines.append(StatementLine(entry, balance))
        balance -= entry.gpu_seconds
    return lines
