"""Which runs shall be given back? Those that their node ended: proposed as they are charged, decided by staff."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from accounting import ledger
from accounting.models import RefundProposal
from accounting.records import Fact
from portal.transitions import advance

AT_FAULT = frozenset({"NODE_FAIL", "BOOT_FAIL"})
State = RefundProposal.State


class Lost(NamedTuple):
    """A charged run that its node ended."""

    record_id: int
    allocation_id: int
    gpu_seconds: int  # what it was charged


def is_lost(fact: Fact) -> bool:
    return fact.state in AT_FAULT and not fact.provisional


def propose(lost: Collection[Lost]) -> None:
    """In the transaction of the charges: one statement, however many; none where there are none."""
    if lost:
        RefundProposal.objects.bulk_create(
            (
                RefundProposal(usage_record_id=record, allocation_id=payer, gpu_seconds=cost)
                for record, payer, cost in lost
                if cost > 0
            ),
            ignore_conflicts=True,
        )


def follow(changed: Mapping[int, Fact]) -> None:
    """After records were corrected, and their charges with them: propose what is lost now, and follow what is proposed.

    What was decided stays; `ledger.charge` keeps a refund within its charge.
    """
    known = {one.usage_record_id: one for one in RefundProposal.objects.filter(usage_record__in=changed)}
    lost = {pk for pk, fact in changed.items() if is_lost(fact)}
    undecided = {pk: one for pk, one in known.items() if one.state in (State.PROPOSED, State.LAPSED)}
    if not lost and not undecided:
        return
    costs = ledger.costs({*lost, *undecided})
    propose([Lost(pk, *costs[pk]) for pk in lost - known.keys() if pk in costs])
    _follow(undecided.items(), {pk: costs[pk].gpu_seconds for pk in lost if pk in costs})


def _follow(undecided: Iterable[tuple[int, RefundProposal]], costs: Mapping[int, int]) -> None:
    for pk, one in undecided:
        cost = costs.get(pk, 0)
        if cost <= 0:
            if one.state == State.PROPOSED:
                advance(one, State.LAPSED, by=None, project=one.allocation.project)
        elif one.state == State.LAPSED:
            advance(one, State.PROPOSED, by=None, project=one.allocation.project, gpu_seconds=cost)
        elif cost != one.gpu_seconds:
            RefundProposal.objects.filter(pk=one.pk, state=State.PROPOSED).update(gpu_seconds=cost)
