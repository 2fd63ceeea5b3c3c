"""A run that its node ended is proposed for a refund as it is charged; staff decide; it never gives more than it took."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from accounting import ledger
from accounting.actions import refunds
from accounting.models import Allocation, LedgerEntry, RefundProposal, UsageRecord
from accounting.rebuilding import differences
from accounting.runs import Run
from accounting.usage import record_runs
from portal.models import AuditEvent, Lab, OutgoingMail, Role, User
from portal.transitions import Overtaken
from tests.factories import AllocationFactory, MembershipFactory, PartitionFactory, RunFactory

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
HOUR = 3600
State = RefundProposal.State


def seen(allocation: Allocation, *runs: Run, queue: tuple[str, ...] = ()) -> None:
    record_runs(runs, cluster=allocation.cluster, as_of=NOON + timedelta(days=2), in_queue=queue)


def lost(**changes: Any) -> Run:
    """Two GPUs for an hour, until the node failed."""
    return RunFactory.create(**{"db_index": "7", "state": "NODE_FAIL", **changes})


@pytest.fixture
def proposal(allocation: Allocation) -> RefundProposal:
    seen(allocation, lost())
    return RefundProposal.objects.get()


@pytest.mark.parametrize("state", ["NODE_FAIL", "BOOT_FAIL"])
def test_what_its_node_ended_is_proposed_with_what_it_was_charged(allocation: Allocation, state: str) -> None:
    seen(allocation, lost(state=state, partition="a100-preemptible"))
    proposal = RefundProposal.objects.get()
    assert (proposal.state, proposal.gpu_seconds, proposal.allocation) == ("proposed", HOUR, allocation)


@pytest.mark.parametrize(
    "state", ["FAILED", "TIMEOUT", "CANCELLED", "PREEMPTED", "OUT_OF_MEMORY", "REQUEUED"]
)
def test_nothing_else_is(allocation: Allocation, state: str) -> None:
    seen(allocation, lost(state=state))
    assert not RefundProposal.objects.exists()


def test_it_is_proposed_once_however_often_it_is_seen(
    allocation: Allocation, proposal: RefundProposal
) -> None:
    seen(allocation, lost())
    seen(allocation, lost(), RunFactory.create())
    assert RefundProposal.objects.get() == proposal


def test_many_take_one_statement_more_than_none(allocation: Allocation) -> None:
    def statements(state: str, indexes: range) -> int:
        runs = [RunFactory.create(db_index=str(n), state=state) for n in indexes]
        with CaptureQueriesContext(connection) as queries:
            seen(allocation, *runs)
        return len(queries)

    assert statements("NODE_FAIL", range(100, 200)) - statements("FAILED", range(300, 400)) == 1
    assert RefundProposal.objects.count() == 100


def test_one_that_ran_when_it_was_first_seen_is_proposed_when_it_ends(allocation: Allocation) -> None:
    seen(allocation, lost(state="RUNNING", end=None), queue=("7",))
    assert not RefundProposal.objects.exists()
    seen(allocation, lost())
    assert RefundProposal.objects.get().gpu_seconds == 2 * HOUR


def test_approving_gives_it_back_and_tells_the_pi(
    proposal: RefundProposal, allocation: Allocation, sam: User, ivo: User
) -> None:
    entry = refunds.approve(by=sam, proposal=proposal)
    assert (entry.kind, entry.gpu_seconds, entry.actor) == ("refund", 2 * HOUR, sam)
    assert entry.cites == LedgerEntry.objects.get(kind="charge")
    assert ledger.balance(allocation).used == 0
    proposal.refresh_from_db()
    assert (proposal.state, proposal.decided_by, proposal.entry) == (State.APPROVED, sam, entry)
    assert OutgoingMail.objects.filter(template="refunded", recipient=ivo).count() == 1
    assert AuditEvent.objects.about(proposal).get().actor == sam


def test_declining_leaves_the_charge(proposal: RefundProposal, allocation: Allocation, sam: User) -> None:
    refunds.decline(by=sam, proposal=proposal, reason="It had written its results.")
    assert ledger.balance(allocation).used == 2 * HOUR
    with pytest.raises(Overtaken):
        refunds.approve(by=sam, proposal=proposal)


def test_only_staff_decide_and_not_on_their_own_lab(
    proposal: RefundProposal, optics: Lab, sam: User, ann: User, ivo: User
) -> None:
    for person in (ann, ivo):
        with pytest.raises(PermissionDenied):
            refunds.approve(by=person, proposal=proposal)
    MembershipFactory.create(user=sam, role=Role.MEMBER, lab=optics)
    with pytest.raises(PermissionDenied, match="own lab"):
        refunds.approve(by=User.objects.get(pk=sam.pk), proposal=proposal)


def test_no_more_is_given_back_than_the_run_was_charged(
    proposal: RefundProposal, allocation: Allocation, sam: User
) -> None:
    cost = ledger.balance(allocation).used
    entry = ledger.refund(proposal.usage_record_id, cost + HOUR, by=sam, reason="All of it.")
    assert entry.gpu_seconds == cost > 0
    assert ledger.balance(allocation).used == 0


def test_the_database_refuses_a_second_refund_of_a_run(proposal: RefundProposal, sam: User) -> None:
    entry = refunds.approve(by=sam, proposal=proposal)
    with pytest.raises(ledger.NothingToRefund):
        ledger.refund(proposal.usage_record_id, HOUR, by=sam, reason="Again.")
    entry.pk, entry._state.adding = None, True
    with pytest.raises(IntegrityError), transaction.atomic():
        entry.save(force_insert=True)


def test_a_proposal_follows_the_record(allocation: Allocation, proposal: RefundProposal) -> None:
    seen(allocation, lost(end=NOON + timedelta(minutes=30)))
    proposal.refresh_from_db()
    assert (proposal.state, proposal.gpu_seconds) == (State.PROPOSED, HOUR)
    seen(allocation, lost(state="COMPLETED"))
    proposal.refresh_from_db()
    assert proposal.state == State.LAPSED
    seen(allocation, lost())
    proposal.refresh_from_db()
    assert (proposal.state, proposal.gpu_seconds) == (State.PROPOSED, 2 * HOUR)


def test_a_record_that_shrinks_after_the_refund_takes_the_rest_of_it_back(
    allocation: Allocation, proposal: RefundProposal, sam: User
) -> None:
    refunds.approve(by=sam, proposal=proposal)
    seen(allocation, lost(end=NOON + timedelta(minutes=30)))
    assert ledger.balance(allocation).used == 0
    seen(allocation, lost(end=NOON + timedelta(minutes=20)))
    assert ledger.balance(allocation).used == 0
    assert not list(differences())


def test_a_record_that_grows_after_the_refund_is_charged_for_the_rest(
    allocation: Allocation, proposal: RefundProposal, sam: User
) -> None:
    refunds.approve(by=sam, proposal=proposal)
    seen(allocation, lost(end=NOON + timedelta(hours=2)))
    assert ledger.balance(allocation).used == 2 * HOUR


def test_what_a_settled_allocation_gets_back_expires(
    allocation: Allocation, proposal: RefundProposal, sam: User
) -> None:
    Allocation.objects.filter(pk=allocation.pk).update(settled_at=NOON)
    ledger.expire(allocation, ledger.balance(allocation).available, reason="over")
    refunds.approve(by=sam, proposal=proposal)
    assert ledger.balance(allocation).available == 0


@pytest.mark.django_db(transaction=True)
def test_two_who_approve_at_once_give_it_back_once(
    proposal: RefundProposal, allocation: Allocation, sam: User
) -> None:
    def approve(_: int) -> bool:
        try:
            refunds.approve(
                by=sam, proposal=RefundProposal.objects.select_related("allocation__project__lab").get()
            )
        except Overtaken:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(max_workers=8) as threads:
        assert list(threads.map(approve, range(8))).count(True) == 1
    assert ledger.balance(allocation).used == 0


class Corrections(TestCase):
    """Whatever the scheduler says later, and whenever staff decide: a run costs its charge less its refund, never below 0."""

    numbers = count(1)

    @settings(max_examples=40, deadline=None)
    @given(st.lists(st.one_of(st.just("approve"), st.tuples(st.integers(0, 200), st.booleans())), max_size=8))
    def test_a_run_never_gives_more_than_it_took(self, story: list[Any]) -> None:
        number = next(self.numbers)
        allocation = AllocationFactory.create(project__account=f"refunds-{number}")
        PartitionFactory.create(cluster=allocation.cluster, name="a100", factor="0.3333")
        sam = MembershipFactory.create(role=Role.STAFF).user
        said = {"cluster": allocation.cluster.name, "account": allocation.project.account}
        seen(allocation, lost(**said))
        for deed in story:
            if deed == "approve":
                waiting = RefundProposal.objects.filter(allocation=allocation, state=State.PROPOSED).first()
                if waiting:
                    refunds.approve(by=sam, proposal=waiting)
            else:
                minutes, failed = deed
                state = "NODE_FAIL" if failed else "COMPLETED"
                seen(allocation, lost(**said, end=NOON + timedelta(minutes=minutes), state=state))
            record = UsageRecord.objects.get(cluster=allocation.cluster)
            left = ledger.costs([record.pk])[record.pk].gpu_seconds
            assert left >= 0
            assert ledger.balance(allocation).used == left
            assert not [one for one in differences() if one.cluster_id == allocation.cluster_id]
