"""Who pays for a run that ended, and at which price: the allocation and the factor, then the ledger's entry."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from decimal import Decimal

from django.utils import timezone

from accounting import budgets, ledger, records, refunding
from accounting.models import Allocation, Cluster, LedgerEntry, Partition, UsageRecord
from accounting.records import Fact
from accounting.refunding import Lost
from accounting.units import charged as cost_of


def charge(
    cluster: Cluster,
    new: Sequence[Fact],
    changed: Mapping[int, Fact],
    *,
    held_by: Callable[[str], int | None],
) -> int:
    """Make the ledger agree with the runs that ended. Returns how many entries were written.

    `held_by`: the allocation that was held for the run of an identity, if the portal knows of one.
    """
    ended = [fact for fact in new if _is_due(fact)]
    charged = set(
        LedgerEntry.objects.filter(usage_record__in=changed, kind=LedgerEntry.Kind.CHARGE).values_list(
            "usage_record", flat=True
        )
    )
    again = {pk: fact for pk, fact in changed.items() if pk in charged or _is_due(fact)}
    if not ended and not again:
        return 0
    payers = _Payers(cluster, {fact.project_id for fact in (*ended, *again.values()) if fact.project_id})
    bills: dict[Allocation, list[ledger.Bill]] = defaultdict(list)
    lost: list[Lost] = []
    for pk, fact in _with_keys(cluster, [fact for fact in ended if payers.has(fact) and fact.gpu_seconds]):
        if allocation := payers.of(fact, held_by(fact.identity)):
            bill = ledger.Bill(pk, fact.gpu_seconds, payers.factor(fact))
            bills[allocation].append(bill)
            if refunding.is_lost(fact):
                lost.append(Lost(pk, allocation.pk, cost_of(bill.gpu_seconds, bill.factor)))
    corrections: dict[Allocation, list[tuple[UsageRecord, Decimal]]] = defaultdict(list)
    for pk, fact in again.items():
        if allocation := payers.of(fact, held_by(fact.identity)):
            # One that was charged and runs again, for the scheduler corrected itself, is charged when it ends.
            record = UsageRecord(pk=pk, gpu_seconds=0 if fact.provisional else fact.gpu_seconds)
            corrections[allocation].append((record, payers.factor(fact)))
    written: dict[int, int] = {}
    # In the order in which everybody locks allocations, so that nobody waits for each other.
    for allocation in sorted({*bills, *corrections}, key=lambda one: one.pk):
        written[allocation.pk] = ledger.charge_new(allocation, bills[allocation]) + sum(
            ledger.charge(allocation, record, factor) is not None
            for record, factor in corrections[allocation]
        )
    refunding.propose(lost)
    if again:
        refunding.follow(again)
    budgets.tell({pk for pk, entries in written.items() if entries})
    return sum(written.values())


def _is_due(fact: Fact) -> bool:
    return fact.project_id is not None and fact.start is not None and not fact.provisional


def _with_keys(cluster: Cluster, facts: Sequence[Fact]) -> Iterable[tuple[int, Fact]]:
    keys = records.keys(cluster, [fact.identity for fact in facts])
    return ((keys[fact.identity], fact) for fact in facts)


class _Payers:
    """The allocations of some projects on a cluster, and the prices of its partitions."""

    def __init__(self, cluster: Cluster, project_ids: Collection[int]) -> None:
        partitions = Partition.objects.filter(cluster=cluster).prefetch_related("factors")
        self._partitions = {partition.name: partition for partition in partitions}
        self._allocations: dict[int, list[Allocation]] = defaultdict(list)
        for allocation in Allocation.objects.filter(cluster=cluster, project__in=project_ids).order_by(
            "end", "pk"
        ):
            self._allocations[allocation.project_id].append(allocation)

    def has(self, fact: Fact) -> bool:
        return bool(self._allocations.get(fact.project_id or 0))

    def of(self, fact: Fact, held_by: int | None) -> Allocation | None:
        """The allocation that was held for the run; else the one in force when it started, the first to end; else the last."""
        candidates = self._allocations.get(fact.project_id or 0, [])
        day = (fact.start or timezone.now()).date()
        return (
            next((a for a in candidates if a.pk == held_by), None)
            or next((a for a in candidates if a.covers(day)), None)
            or (candidates[-1] if candidates else None)
        )

    def factor(self, fact: Fact) -> Decimal:
        partition = self._partitions.get(fact.partition)
        return partition.factor_at(fact.start) if partition and fact.start else Decimal(1)
