"""Who uses a project's hours, how fast, and what happened on an allocation?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from django.db.models import (
    BigIntegerField,
    Case,
    F,
    Max,
    Min,
    Q,
    QuerySet,
    Sum,
    Value,
    When,
    Window,
)
from django.db.models.functions import Cast, Coalesce, TruncDate

from accounting.models import Allocation, LedgerEntry, UsageDay
from accounting.reports.balances import AllocationStanding
from accounting.units import percent
from portal.models import Project

# ── Who uses a project's hours? ──────────────────────────────────────────────


@dataclass(frozen=True)
class Share:
    """One person's part. `name` is the POSIX user where the portal does not know the person."""

    name: str
    gpu_seconds: int
    percent: Decimal


def shares(project: Project) -> list[Share]:
    """Device-seconds by person, of all time, the largest first."""
    rows = list(
        UsageDay.objects.filter(project=project)
        .values("person__name", "person", posix=Case(When(person=None, then=F("user")), default=Value("")))
        .order_by()
        .annotate(sum=Sum("gpu_seconds"))
        .order_by("-sum")
    )
    total = sum(row["sum"] for row in rows)
    return [
        Share(row["person__name"] or row["posix"], row["sum"], percent(row["sum"], total)) for row in rows
    ]


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
    used = _used_by_day(allocation)
    days = [allocation.start + timedelta(days=n) for n in range((today - allocation.start).days + 1)]
    left, rest = (
        [],
        standing.balance.granted - sum(amount for day, amount in used.items() if day < allocation.start),
    )
    for day in days:
        rest -= used.get(day, 0)
        left.append(rest)
    soon, late = _lasts(used, standing, len(days))
    return Burn(tuple(days), tuple(left), standing.balance.granted, soon, late)


def _used_by_day(allocation: Allocation) -> dict[date, int]:
    rows = (
        allocation.entries.filter(usage_record__isnull=False)
        .order_by()
        .values(day=TruncDate(Coalesce("usage_record__held_until", "at")))
        .annotate(sum=Sum("gpu_seconds"))
    )
    return {row["day"]: -row["sum"] for row in rows}


def _lasts(used: dict[date, int], standing: AllocationStanding, days: int) -> tuple[date | None, date | None]:
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

    return Statement(
        **allocation.entries.aggregate(
            granted=total(kinds.GRANT),
            charged=total(kinds.CHARGE),
            corrected=total(kinds.ADJUSTMENT, kinds.REFUND),
            moved=total(kinds.TRANSFER, kinds.EXPIRY),
            closing=Sum("gpu_seconds", default=0),
            first_at=Min("at"),
            last_at=Max("at"),
        )
    )


def statement_lines(allocation: Allocation) -> QuerySet[LedgerEntry]:
    """The entries, newest first, each with `balance_after`."""
    running = Window(Sum("gpu_seconds"), order_by=[F("at").asc(), F("pk").asc()])
    return (
        allocation.entries.annotate(balance_after=Cast(running, BigIntegerField()))
        .select_related("usage_record__person", "actor", "cites")
        .order_by("-at", "-pk")
    )
