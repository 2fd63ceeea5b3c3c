"""Balances, holds and days are reckoned anew from the facts: what fits is quiet, what does not is found, kept, and mailed once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO
from threading import Thread
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from accounting import ledger
from accounting.models import (
    Allocation,
    BalanceDifference,
    Hold,
    LedgerEntry,
    UsageDay,
    UsageRecord,
)
from accounting.one_moment import one_moment
from accounting.usage import record_runs
from jobs import balance_checks
from jobs.models import Job
from jobs.states import State
from portal.models import OutgoingMail, User
from tests.factories import HoldFactory, JobFactory, ReviewFactory, RunFactory

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
HOUR = 3600


@pytest.fixture
def busy(allocation: Allocation, mei: User) -> Allocation:
    """Runs that ended, one that runs over midnight, a failed node, one on nobody's account; a job with its hold."""
    runs = [
        RunFactory.create(db_index="1"),
        RunFactory.create(
            db_index="2", partition="a100-preemptible", gpus=3, end=NOON + timedelta(seconds=3333)
        ),
        RunFactory.create(db_index="3", end=None, state="RUNNING"),
        RunFactory.create(db_index="4", state="NODE_FAIL"),
        RunFactory.create(db_index="5", account="nobody"),
        RunFactory.create(db_index="6", gpus=0, shards=3),
    ]
    record_runs(runs, cluster=allocation.cluster, as_of=NOON + timedelta(hours=30), in_queue={"3"})
    job = JobFactory.create(owner=mei, allocation=allocation)
    with transaction.atomic():
        ledger.hold(allocation, 2 * HOUR, reference=job.token, person=mei)
    return allocation


def what() -> set[tuple[str, int, int]]:
    return {(one.kind, one.expected, one.found) for one in balance_checks.found()}


def test_what_fits_is_quiet(busy: Allocation) -> None:
    assert balance_checks.found() == []
    said = StringIO()
    call_command("check_balances", stdout=said)
    assert "follows from the facts" in said.getvalue()


def test_a_record_that_changed_behind_the_ledger_is_found(busy: Allocation) -> None:
    UsageRecord.objects.filter(identity="1").update(gpu_seconds=3 * HOUR)
    assert what() == {
        ("charge", 3 * HOUR, 2 * HOUR),
        ("used", 3 * HOUR + 5000 + 2 * HOUR, 2 * HOUR + 5000 + 2 * HOUR),
    }


def test_a_run_that_was_not_charged_is_found(busy: Allocation) -> None:
    record = UsageRecord.objects.get(identity="1")
    record.pk, record.identity, record.held_until = None, "9", None
    record.save()
    assert what() == {("charge", 2 * HOUR, 0)}


def test_a_charge_at_another_price_than_its_own_is_found(busy: Allocation) -> None:
    record = UsageRecord.objects.get(identity="1")
    entry = LedgerEntry.objects.create(
        allocation=busy, kind="adjustment", gpu_seconds=-7, usage_record=record, factor=Decimal(1), reason="?"
    )
    assert {one[0] for one in what()} == {"charge", "used"}
    assert entry.pk


def test_a_refund_beyond_the_charge_is_found(busy: Allocation, sam: User) -> None:
    LedgerEntry.objects.create(
        allocation=busy,
        kind="refund",
        gpu_seconds=2 * HOUR + 1,
        usage_record=UsageRecord.objects.get(identity="1"),
        reason="?",
    )
    assert what() == {("refund", 2 * HOUR, 2 * HOUR + 1)}


def test_a_decision_without_its_grant_is_found(busy: Allocation) -> None:
    ReviewFactory.create(request__project=busy.project, request__cluster=busy.cluster, request__gpu_hours=7)
    assert what() == {("grant", 7 * HOUR, 0)}


def test_a_grant_of_another_amount_is_found(busy: Allocation) -> None:
    review = ReviewFactory.create(
        request__project=busy.project, request__cluster=busy.cluster, request__gpu_hours=7
    )
    ledger.grant(busy, 8 * HOUR, review=review, by=None)
    assert what() == {("grant", 7 * HOUR, 8 * HOUR)}


def test_hours_that_left_and_did_not_arrive_are_found(busy: Allocation) -> None:
    LedgerEntry.objects.create(allocation=busy, kind="transfer", gpu_seconds=-HOUR, reason="?")
    assert what() == {("transfer", HOUR, 0)}


def test_a_hold_of_a_job_that_ended_is_found(busy: Allocation) -> None:
    Job.objects.update(state=State.FAILED)
    assert what() == {("hold", 0, 2 * HOUR)}


def test_a_hold_of_no_job_is_found(busy: Allocation) -> None:
    HoldFactory.create(allocation=busy, gpu_seconds=5)
    assert what() == {("hold", 0, 5)}


def test_an_unfinished_job_without_a_hold_is_found(busy: Allocation) -> None:
    Hold.objects.update(released_at=NOON)
    assert what() == {("hold", 2 * HOUR, 0)}


DAY = "firefly 2026-03-10"


@pytest.mark.parametrize(
    ("cells", "change", "found"),
    [
        # 2 h each of a run that ended well and of one on a failed node, 3 × 3333 s, and 2 × 12 h of one that runs.
        ({"account": "squeezed-light", "state": "COMPLETED", "partition": "a100", "shard_seconds": 0}, {"gpu_seconds": 1}, {(f"{DAY} squeezed-light", 28 * HOUR + 9999, 26 * HOUR + 10000)}),
        ({"state": "RUNNING", "day": "2026-03-10"}, {"provisional_gpu_seconds": 0}, {(f"{DAY} squeezed-light provisional", 24 * HOUR, 0)}),
        ({"account": "nobody"}, None, {(f"{DAY} nobody", 2 * HOUR, 0)}),
        ({"shard_seconds__gt": 0}, {"shard_seconds": 1}, {(f"{DAY} squeezed-light shards", 3 * HOUR, 1)}),
    ],
)  # fmt: skip
def test_days_that_do_not_sum_to_their_records_are_found(
    busy: Allocation, cells: dict[str, Any], change: dict[str, int] | None, found: set[tuple[str, int, int]]
) -> None:
    rows = UsageDay.objects.filter(**cells)
    assert rows.update(**change) if change else rows.delete()
    assert {one[1:4] for one in balance_checks.found()} == found


def test_the_command_prints_what_differs_and_exits_with_one(busy: Allocation) -> None:
    HoldFactory.create(allocation=busy, reference="stray", gpu_seconds=5)
    said = StringIO()
    with pytest.raises(CommandError) as failed:
        call_command("check_balances", stdout=said)
    assert failed.value.returncode == 1
    assert said.getvalue() == "hold of hold stray: 0 by the facts, 5 found\n"
    assert not BalanceDifference.objects.exists()


def test_a_difference_is_kept_and_mailed_once_and_cleared_when_it_is_gone(
    busy: Allocation, sam: User
) -> None:
    hold = HoldFactory.create(allocation=busy, gpu_seconds=5)
    assert balance_checks.check() == 1
    assert balance_checks.check() == 0
    row = BalanceDifference.objects.get()
    assert (row.kind, row.expected, row.found, row.allocation, row.cleared_at) == ("hold", 0, 5, busy, None)
    assert OutgoingMail.objects.filter(template="balances_differ", recipient=sam).count() == 1
    ledger.release(hold.reference)
    assert balance_checks.check() == 0
    row.refresh_from_db()
    assert row.cleared_at is not None


@pytest.mark.django_db(transaction=True)
def test_what_is_read_is_of_one_moment(busy: Allocation) -> None:
    def write() -> None:
        HoldFactory.create(allocation=busy, gpu_seconds=5)
        connection.close()

    with one_moment():
        assert Hold.objects.count() == 1
        other = Thread(target=write)
        other.start()
        other.join()
        assert Hold.objects.count() == 1
    assert Hold.objects.count() == 2
