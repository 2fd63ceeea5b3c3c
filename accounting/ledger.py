"""The only writer of ledger rows. Every function here runs in, or opens, the transaction of the deed it belongs to.

Amounts are integer GPU-seconds. balance = Σ entries; available = balance − open holds, computed from the facts
under a lock on the allocation's row.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from django.db import transaction
from django.db.models import Q, Sum
from django.utils import timezone
from django.utils.translation import gettext_noop

from accounting.models import Allocation, Hold, LedgerEntry, Review, UsageRecord
from accounting.units import charged
from portal.models import User

Kind = LedgerEntry.Kind


@dataclass(frozen=True)
class Balance:
    """Where an allocation (or several together) stands, in GPU-seconds."""

    granted: int = 0  # grants, supplements, transfers in: all that raised it, less what expired
    used: int = 0  # charges less refunds and corrections, as a positive number
    held: int = 0  # worst case of unfinished jobs

    @property
    def balance(self) -> int:
        return self.granted - self.used

    @property
    def available(self) -> int:
        return self.balance - self.held

    def __add__(self, other: Balance) -> Balance:
        return Balance(self.granted + other.granted, self.used + other.used, self.held + other.held)


class NotEnough(Exception):
    """The allocation has fewer GPU-seconds available than were asked to be held."""

    def __init__(self, wanted: int, balance: Balance) -> None:
        super().__init__(f"wanted {wanted}, available {balance.available}")
        self.wanted = wanted
        self.balance = balance


def balances(allocations: Iterable[Allocation]) -> dict[int, Balance]:
    """Each allocation's balance by its pk: two queries, whatever their number."""
    ids = [allocation.pk for allocation in allocations]
    usage = Q(kind__in=(Kind.CHARGE, Kind.REFUND, Kind.ADJUSTMENT), usage_record__isnull=False)
    sums = (
        LedgerEntry.objects.filter(allocation__in=ids)
        .values("allocation")
        .order_by()
        .annotate(
            granted=Sum("gpu_seconds", filter=~usage, default=0),
            used=Sum("gpu_seconds", filter=usage, default=0),
        )
    )
    holds = (
        Hold.objects.open()
        .filter(allocation__in=ids)
        .values("allocation")
        .order_by()
        .annotate(held=Sum("gpu_seconds"))
    )
    by_entries = {row["allocation"]: row for row in sums}
    by_holds = {row["allocation"]: row["held"] for row in holds}
    return {
        pk: Balance(
            granted=by_entries[pk]["granted"] if pk in by_entries else 0,
            used=-by_entries[pk]["used"] if pk in by_entries else 0,
            held=by_holds.get(pk, 0),
        )
        for pk in ids
    }


def balance(allocation: Allocation) -> Balance:
    return balances([allocation])[allocation.pk]


def lock(allocation: Allocation) -> None:
    """Nobody else changes what is available until our transaction ends. (SQLite: every transaction is immediate.)"""
    Allocation.objects.select_for_update(no_key=True).get(pk=allocation.pk)


def hold(allocation: Allocation, gpu_seconds: int, *, reference: str) -> Hold:
    """Set `gpu_seconds` aside for one job, or raise NotEnough. Inside the submit transaction."""
    lock(allocation)
    now = balance(allocation)
    if gpu_seconds > now.available:
        raise NotEnough(gpu_seconds, now)
    return Hold.objects.create(allocation=allocation, gpu_seconds=gpu_seconds, reference=reference)


def release(reference: str) -> bool:
    """Give back what was held for a job that is final. True the first time; ringing twice does nothing."""
    return bool(Hold.objects.open().filter(reference=reference).update(released_at=timezone.now()))


def grant(
    allocation: Allocation, gpu_seconds: int, *, review: Review, by: User, reason: str = ""
) -> LedgerEntry:
    """The award of an approved request: once per review, by a constraint."""
    return LedgerEntry.objects.create(
        allocation=allocation,
        kind=Kind.GRANT,
        gpu_seconds=gpu_seconds,
        review=review,
        actor=by,
        reason=reason,
    )


@transaction.atomic
def charge(allocation: Allocation, record: UsageRecord, factor: Decimal) -> LedgerEntry | None:
    """Make the ledger agree with an ended run: a charge the first time, an adjustment where the fact changed later.

    None where it agrees already. The factor of the first charge stays in force: a new price never rewrites it.
    """
    lock(allocation)
    entries = list(LedgerEntry.objects.filter(usage_record=record, kind__in=(Kind.CHARGE, Kind.ADJUSTMENT)))
    first = next((entry for entry in entries if entry.kind == Kind.CHARGE), None)
    in_force = first.factor if first and first.factor is not None else factor
    difference = -charged(record.gpu_seconds, in_force) - sum(entry.gpu_seconds for entry in entries)
    if not difference:
        return None
    if first is None:
        return LedgerEntry.objects.create(
            allocation=allocation,
            kind=Kind.CHARGE,
            gpu_seconds=difference,
            usage_record=record,
            factor=in_force,
        )
    return LedgerEntry.objects.create(
        allocation=first.allocation,
        kind=Kind.ADJUSTMENT,
        gpu_seconds=difference,
        usage_record=record,
        factor=in_force,
        cites=first,
        reason=gettext_noop("The scheduler's record of this run changed after it was charged."),
    )


def adjust(
    allocation: Allocation, gpu_seconds: int, *, by: User, reason: str, cites: LedgerEntry | None = None
) -> LedgerEntry:
    """A correction by hand, with its reason."""
    return LedgerEntry.objects.create(
        allocation=allocation,
        kind=Kind.ADJUSTMENT,
        gpu_seconds=gpu_seconds,
        actor=by,
        reason=reason,
        cites=cites,
    )
