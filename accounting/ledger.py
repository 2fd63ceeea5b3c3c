"""The only writer of ledger rows. Every function here runs in, or opens, the transaction of the deed it belongs to.

Amounts are integer GPU-seconds. balance = Σ entries; available = balance − open holds, read under a lock on the
allocation's row. Σ entries is kept by the database (`accounting.summing`), in the transaction that adds an entry.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import Min, QuerySet, Sum
from django.utils import timezone
from django.utils.translation import gettext_noop

from accounting.models import (
    Allocation,
    Hold,
    LedgerEntry,
    LedgerSum,
    PersonCap,
    Review,
    Tranche,
    UsageRecord,
)
from accounting.units import charged
from portal.models import User

Kind = LedgerEntry.Kind
CORRECTED = gettext_noop("The scheduler's record of this run changed after it was charged.")
LATE = gettext_noop("Given back after the allocation was settled.")
LESS_TO_REFUND = gettext_noop(
    "The run cost less than was refunded, after the scheduler corrected its record."
)


@dataclass(frozen=True)
class Balance:
    """Where an allocation (or several together) stands, in GPU-seconds."""

    granted: int = 0  # grants and supplements, transfers in less those out, corrections by hand
    used: int = 0  # charges less refunds and corrections, as a positive number
    held: int = 0  # worst case of unfinished jobs
    expired: int = 0  # of what was granted, as a positive number
    # How many entries of runs are summed up: entries are never taken away, so it only grows.
    runs: int = field(default=0, compare=False)

    @property
    def budget(self) -> int:
        """What of the grant there was to use: all that did not expire."""
        return self.granted - self.expired

    @property
    def balance(self) -> int:
        return self.budget - self.used

    @property
    def available(self) -> int:
        return self.balance - self.held

    def __add__(self, other: Balance) -> Balance:
        return Balance(
            self.granted + other.granted,
            self.used + other.used,
            self.held + other.held,
            self.expired + other.expired,
            self.runs + other.runs,
        )


@dataclass(frozen=True)
class Allowance:
    """What one person may use of an allocation, and does, in GPU-seconds."""

    cap: int
    used: int = 0
    held: int = 0

    @property
    def left(self) -> int:
        return self.cap - self.used - self.held


class NotUsable(Exception):
    """The allocation's hours can't be used today: it has not begun, has ended, or is suspended."""


class OverCap(Exception):
    """More than is left of what the PI lets this person use."""

    def __init__(self, wanted: int, allowance: Allowance) -> None:
        super().__init__(f"wanted {wanted}, left {allowance.left}")
        self.wanted = wanted
        self.allowance = allowance


class NotEnough(Exception):
    """The allocation has fewer GPU-seconds available than were wanted of it."""

    def __init__(self, wanted: int, balance: Balance) -> None:
        super().__init__(f"wanted {wanted}, available {balance.available}")
        self.wanted = wanted
        self.balance = balance


def balances(allocations: Iterable[Allocation]) -> dict[int, Balance]:
    """Each allocation's balance by its pk: two queries, whatever their number."""
    ids = [allocation.pk for allocation in allocations]
    held = _sums(Hold.objects.open().filter(allocation__in=ids))
    found = {pk: Balance(held=held.get(pk, 0)) for pk in ids}
    for each in LedgerSum.objects.filter(allocation__in=ids).order_by():
        found[each.allocation_id] += _share(each)
    return found


def _share(entries: LedgerSum) -> Balance:
    if entries.kind == Kind.EXPIRY:
        return Balance(expired=-entries.gpu_seconds)
    if entries.of_runs and entries.kind in (Kind.CHARGE, Kind.REFUND, Kind.ADJUSTMENT):
        return Balance(used=-entries.gpu_seconds, runs=entries.entries)
    return Balance(granted=entries.gpu_seconds)


def balance(allocation: Allocation) -> Balance:
    return balances([allocation])[allocation.pk]


def allowances(allocations: Iterable[Allocation], person: User) -> dict[int, Allowance]:
    """By the pk of those allocations on which the person has a cap: one query where nobody set any, else three."""
    caps = dict(
        PersonCap.objects.filter(allocation__in=allocations, user=person)
        .order_by()
        .values_list("allocation", "gpu_seconds")
    )
    if not caps:
        return {}
    used = _sums(LedgerEntry.objects.filter(allocation__in=caps, usage_record__person=person))
    held = _sums(Hold.objects.open().filter(allocation__in=caps, person=person))
    return {pk: Allowance(cap, -used.get(pk, 0), held.get(pk, 0)) for pk, cap in caps.items()}


def _sums(rows: QuerySet[Any]) -> dict[int, int]:
    """GPU-seconds by allocation."""
    return dict(
        rows.order_by().values("allocation").annotate(sum=Sum("gpu_seconds")).values_list("allocation", "sum")
    )


def lock(allocation: Allocation) -> Allocation:
    """The allocation as it is now; nobody else changes it, or what is available of it, until our transaction ends.

    (SQLite: every transaction is immediate.)
    """
    return Allocation.objects.select_for_update(no_key=True).get(pk=allocation.pk)


def hold(allocation: Allocation, gpu_seconds: int, *, reference: str, person: User | None = None) -> Hold:
    """Set `gpu_seconds` aside for one job of `person`, inside the submit transaction.

    Raises NotUsable, NotEnough, or OverCap where the PI lets the person use less.
    """
    if not lock(allocation).is_active(timezone.now().date()):
        raise NotUsable
    now = balance(allocation)
    if gpu_seconds > now.available:
        raise NotEnough(gpu_seconds, now)
    allowance = allowances([allocation], person).get(allocation.pk) if person else None
    if allowance and gpu_seconds > allowance.left:
        raise OverCap(gpu_seconds, allowance)
    return Hold.objects.create(
        allocation=allocation, gpu_seconds=gpu_seconds, reference=reference, person=person
    )


def hold_found(allocation: Allocation, gpu_seconds: int, *, reference: str, person: User) -> Hold:
    """The same for a job that was found on the cluster. It is a fact, so this is never refused: what is available may
    fall below zero."""
    lock(allocation)
    return Hold.objects.create(
        allocation=allocation, gpu_seconds=gpu_seconds, reference=reference, person=person
    )


def release(reference: str) -> bool:
    """Give back what was held for a job that is final. True the first time; ringing twice does nothing."""
    return bool(Hold.objects.open().filter(reference=reference).update(released_at=timezone.now()))


@dataclass(frozen=True)
class Repriced:
    """A hold that changed, in GPU-seconds."""

    hold: Hold
    before: int
    short: int  # so much more is held, and used, than the allocation has


@transaction.atomic
def reprice(reference: str, gpu_seconds: int) -> Repriced | None:
    """Hold what a job that runs can really cost: more where it got more than it asked for, less as an array's tasks end.

    The run is a fact, so this is never refused: what is available may fall below zero. None where nothing changed.
    """
    found = Hold.objects.open().filter(reference=reference).select_related("allocation").first()
    if found is None or found.gpu_seconds == gpu_seconds:
        return None
    lock(found.allocation)
    as_read = Hold.objects.open().filter(pk=found.pk, gpu_seconds=found.gpu_seconds)
    if not as_read.update(gpu_seconds=gpu_seconds):
        return None
    before, found.gpu_seconds = found.gpu_seconds, gpu_seconds
    return Repriced(found, before, max(-balance(found.allocation).available, 0))


def grant(
    allocation: Allocation,
    gpu_seconds: int,
    *,
    review: Review,
    by: User | None,
    tranche: Tranche | None = None,
    reason: str = "",
) -> LedgerEntry:
    """The award of an approved request, or a tranche of it: once each, by a constraint."""
    return LedgerEntry.objects.create(
        allocation=allocation,
        kind=Kind.GRANT,
        gpu_seconds=gpu_seconds,
        review=review,
        tranche=tranche,
        actor=by,
        reason=reason,
    )


class Bill(NamedTuple):
    """What an ended run costs: which record, how many GPU-seconds it held, at which factor."""

    record_id: int
    gpu_seconds: int
    factor: Decimal


@transaction.atomic
def charge_new(allocation: Allocation, bills: Sequence[Bill]) -> int:
    """Charge runs that were never charged before. Returns how many entries were written."""
    if not bills:
        return 0
    lock(allocation)
    costs = [(bill, charged(bill.gpu_seconds, bill.factor)) for bill in bills]
    entries = LedgerEntry.objects.bulk_create(
        LedgerEntry(
            allocation=allocation,
            kind=Kind.CHARGE,
            gpu_seconds=-cost,
            usage_record_id=bill.record_id,
            factor=bill.factor,
        )
        for bill, cost in costs
        if cost
    )
    return len(entries)


@transaction.atomic
def transfer(
    source: Allocation, target: Allocation, gpu_seconds: int, *, review: Review, by: User | None, reason: str
) -> tuple[LedgerEntry, LedgerEntry]:
    """Move hours: two entries of one amount, the arrival citing the departure. Once for a review; or NotEnough."""
    for allocation in sorted((source, target), key=lambda one: one.pk):
        lock(allocation)
    now = balance(source)
    if gpu_seconds > now.available:
        raise NotEnough(gpu_seconds, now)
    departure = LedgerEntry(allocation=source, gpu_seconds=-gpu_seconds)
    arrival = LedgerEntry(allocation=target, gpu_seconds=gpu_seconds, cites=departure)
    for entry in (departure, arrival):
        entry.kind, entry.review, entry.actor, entry.reason = Kind.TRANSFER, review, by, reason
        entry.save()
    return departure, arrival


def expire(allocation: Allocation, gpu_seconds: int, *, reason: str) -> LedgerEntry:
    """Take away what was not used in time. The caller has locked the allocation and knows that so much is left."""
    return LedgerEntry.objects.create(
        allocation=allocation, kind=Kind.EXPIRY, gpu_seconds=-gpu_seconds, reason=reason
    )


@transaction.atomic
def charge(allocation: Allocation, record: UsageRecord, factor: Decimal) -> LedgerEntry | None:
    """Make the ledger agree with an ended run: a charge the first time, an adjustment where the fact changed later.

    None where it agrees already. The factor of the first charge stays in force: a new price never rewrites it.
    After the allocation was settled, what it takes stays as a debt, and what it gives back expires.
    """
    payer = lock(allocation)
    of_run = list(LedgerEntry.objects.filter(usage_record=record).select_related("cites").order_by("pk"))
    entries = [entry for entry in of_run if not _is_of_refund(entry)]
    first = next((entry for entry in entries if entry.kind == Kind.CHARGE), None)
    if first and first.allocation_id != payer.pk:
        payer = lock(first.allocation)
    in_force = first.factor if first and first.factor is not None else factor
    difference = -charged(record.gpu_seconds, in_force) - sum(entry.gpu_seconds for entry in entries)
    if not difference:
        return None
    written = LedgerEntry.objects.create(
        allocation=payer,
        kind=Kind.ADJUSTMENT if first else Kind.CHARGE,
        gpu_seconds=difference,
        usage_record=record,
        factor=in_force,
        cites=first,
        reason=CORRECTED if first else "",
    )
    _keep_refund_within(charged(record.gpu_seconds, in_force), [one for one in of_run if _is_of_refund(one)])
    if payer.settled_at is not None:
        _expire_again(payer)
    return written


def _is_of_refund(entry: LedgerEntry) -> bool:
    """A refund, or what was taken back of one."""
    return entry.kind == Kind.REFUND or (entry.cites is not None and entry.cites.kind == Kind.REFUND)


def _keep_refund_within(cost: int, of_refund: Sequence[LedgerEntry]) -> None:
    """Take back what was refunded beyond what the run costs now: a run never gives more than it took."""
    beyond = sum(entry.gpu_seconds for entry in of_refund) - cost
    if beyond > 0:
        refund = of_refund[0]
        LedgerEntry.objects.create(
            allocation=refund.allocation,
            kind=Kind.ADJUSTMENT,
            gpu_seconds=-beyond,
            usage_record_id=refund.usage_record_id,
            cites=refund,
            reason=LESS_TO_REFUND,
        )


class NothingToRefund(Exception):
    """The run was not charged, or all of it was given back."""


@transaction.atomic
def refund(record_id: int, gpu_seconds: int, *, by: User | None, reason: str) -> LedgerEntry:
    """Give back what a run was charged: once, citing the charge, and no more than is left of it after corrections.

    What it gives a settled allocation beyond its debts expires.
    """
    first = (
        LedgerEntry.objects.filter(usage_record=record_id, kind=Kind.CHARGE)
        .select_related("allocation")
        .first()
    )
    if first is None:
        raise NothingToRefund
    payer = lock(first.allocation)
    left = costs([record_id])[record_id].gpu_seconds
    if left <= 0:
        raise NothingToRefund
    written = LedgerEntry.objects.create(
        allocation=payer,
        kind=Kind.REFUND,
        gpu_seconds=min(gpu_seconds, left),
        usage_record_id=record_id,
        factor=first.factor,
        actor=by,
        cites=first,
        reason=reason,
    )
    if payer.settled_at is not None:
        _expire_again(payer)
    return written


class Cost(NamedTuple):
    """What is left of a run's charge after corrections and refunds, in GPU-seconds, and who pays it."""

    allocation_id: int
    gpu_seconds: int


def costs(record_ids: Iterable[int]) -> dict[int, Cost]:
    """By the record's pk, of those that were charged: one query."""
    rows = (
        LedgerEntry.objects.filter(usage_record__in=record_ids)
        .order_by()
        .values("usage_record")
        .annotate(payer=Min("allocation"), sum=Sum("gpu_seconds"))
    )
    return {row["usage_record"]: Cost(row["payer"], -row["sum"]) for row in rows}


def _expire_again(allocation: Allocation) -> None:
    left = balance(allocation).available
    if left > 0:
        expire(allocation, left, reason=LATE)


@transaction.atomic
def adjust(
    allocation: Allocation, gpu_seconds: int, *, by: User, reason: str, cites: LedgerEntry | None = None
) -> LedgerEntry:
    """A correction by hand, with its reason. What it gives a settled allocation beyond its debts expires."""
    payer = lock(allocation)
    written = LedgerEntry.objects.create(
        allocation=payer,
        kind=Kind.ADJUSTMENT,
        gpu_seconds=gpu_seconds,
        actor=by,
        reason=reason,
        cites=cites,
    )
    if payer.settled_at is not None:
        _expire_again(payer)
    return written
