"""record_runs: the same records are the same rows; what changed is redone and corrected; nothing is guessed."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import IntegrityError, connection
from hypothesis import given
from hypothesis import strategies as st

from accounting import ledger, usage
from accounting.models import Allocation, Cluster, LedgerEntry, QuarantinedRecord, UsageDay, UsageRecord
from accounting.runs import Holding, Run
from accounting.usage import Attribution, record_runs
from portal.models import Project, User
from tests.factories import ChargeFactorFactory, RunFactory

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
HOUR = 3600


def seen(
    runs: Sequence[Run],
    cluster: Cluster,
    *,
    as_of: datetime = NOON + timedelta(days=1),
    queue: Sequence[str] = (),
) -> usage.Tally:
    return record_runs(runs, cluster=cluster, as_of=as_of, in_queue=queue)


def days() -> dict[date, int]:
    found: dict[date, int] = {}
    for row in UsageDay.objects.all():
        found[row.day] = found.get(row.day, 0) + row.gpu_seconds
    return found


def test_seeing_a_run_twice_counts_it_once(allocation: Allocation) -> None:
    run = RunFactory.create()
    assert seen([run], allocation.cluster).new == 1
    again = seen([run, run], allocation.cluster)
    assert (again.new, again.changed, again.unchanged, again.charged) == (0, 0, 1, 0)
    assert (UsageRecord.objects.get().gpu_seconds, days()) == (2 * HOUR, {NOON.date(): 2 * HOUR})
    assert ledger.balance(allocation).used == 2 * HOUR


def test_an_older_look_changes_nothing_that_stays(allocation: Allocation) -> None:
    run = RunFactory.create()
    seen([run], allocation.cluster)
    seen([], allocation.cluster)
    assert days() == {NOON.date(): 2 * HOUR}


def test_a_run_over_midnight_is_split_by_utc_days(allocation: Allocation) -> None:
    run = RunFactory.create(start=NOON + timedelta(hours=11), end=NOON + timedelta(hours=14))
    seen([run], allocation.cluster)
    assert days() == {date(2026, 3, 10): 2 * HOUR, date(2026, 3, 11): 4 * HOUR}


def test_a_record_that_changed_redoes_its_old_and_new_days_and_is_corrected(allocation: Allocation) -> None:
    run = RunFactory.create(db_index="7", start=NOON, end=NOON + timedelta(hours=13))
    seen([run], allocation.cluster, as_of=NOON + timedelta(days=2))
    late = RunFactory.create(db_index="7", start=NOON, end=NOON + timedelta(hours=1))
    tally = seen([late], allocation.cluster, as_of=NOON + timedelta(days=2))
    assert (tally.changed, tally.charged) == (1, 1)
    assert days() == {NOON.date(): 2 * HOUR}
    entries = LedgerEntry.objects.filter(usage_record__isnull=False).values_list("kind", "gpu_seconds")
    assert list(entries) == [("charge", -26 * HOUR), ("adjustment", 24 * HOUR)]
    assert ledger.balance(allocation).used == 2 * HOUR


def test_a_requeued_run_counts_beside_the_new_one(allocation: Allocation) -> None:
    first = RunFactory.create(db_index="1", job_id_raw="500", state="REQUEUED")
    second = RunFactory.create(db_index="2", job_id_raw="500", start=NOON + timedelta(hours=2))
    seen([first, second], allocation.cluster)
    assert UsageRecord.objects.count() == 2
    assert ledger.balance(allocation).used == 4 * HOUR


def test_a_running_job_is_provisional_and_charged_when_it_ended(allocation: Allocation) -> None:
    run = RunFactory.create(db_index="9", job_id_raw="9", end=None, state="RUNNING")
    tally = seen([run], allocation.cluster, as_of=NOON + timedelta(hours=3), queue=["9"])
    assert (tally.provisional, tally.charged) == (1, 0)
    day = UsageDay.objects.get()
    assert day.gpu_seconds == day.provisional_gpu_seconds == 6 * HOUR
    seen([RunFactory.create(db_index="9", job_id_raw="9", end=NOON + timedelta(hours=4))], allocation.cluster)
    day = UsageDay.objects.get()
    assert (day.gpu_seconds, day.provisional_gpu_seconds) == (8 * HOUR, 0)
    assert ledger.balance(allocation).used == 8 * HOUR


def test_a_run_that_had_ended_and_goes_on_is_provisional_again(allocation: Allocation) -> None:
    """More of its day becomes provisional than the day grows by."""
    ended = RunFactory.create(db_index="9", job_id_raw="9", end=NOON + timedelta(hours=2), state="RUNNING")
    seen([ended], allocation.cluster, as_of=NOON + timedelta(hours=3))
    going_on = RunFactory.create(db_index="9", job_id_raw="9", end=None, state="RUNNING")
    seen([going_on], allocation.cluster, as_of=NOON + timedelta(hours=3), queue=["9"])
    day = UsageDay.objects.get()
    assert day.gpu_seconds == day.provisional_gpu_seconds == 6 * HOUR


def test_an_open_record_outside_the_queue_is_a_runaway_that_counts_nothing(allocation: Allocation) -> None:
    tally = seen([RunFactory.create(end=None, state="RUNNING")], allocation.cluster)
    assert dict(tally.anomalies) == {"runaway": 1}
    assert (days(), ledger.balance(allocation).used) == ({}, 0)


def test_an_account_of_nobody_is_kept_and_not_charged(allocation: Allocation) -> None:
    tally = seen([RunFactory.create(account="physics-old")], allocation.cluster)
    assert (tally.unassigned, tally.charged) == (1, 0)
    assert UsageDay.objects.get().project is None


def test_a_charge_takes_the_price_at_the_start(allocation: Allocation) -> None:
    cheap = allocation.cluster.partitions.get(name="a100-preemptible")
    ChargeFactorFactory.create(
        partition=cheap, factor=Decimal("0.25"), valid_from=NOON + timedelta(minutes=30)
    )
    before = RunFactory.create(partition="a100-preemptible")
    after = RunFactory.create(partition="a100-preemptible", start=NOON + timedelta(hours=2))
    seen([before, after], allocation.cluster)
    charges = LedgerEntry.objects.filter(kind="charge").values_list("gpu_seconds", "factor")
    assert list(charges) == [(-HOUR, Decimal("0.5")), (-HOUR // 2, Decimal("0.25"))]


def test_a_new_price_never_rewrites_what_was_charged(allocation: Allocation) -> None:
    run = RunFactory.create(db_index="3")
    seen([run], allocation.cluster)
    a100 = allocation.cluster.partitions.get(name="a100")
    ChargeFactorFactory.create(partition=a100, factor=Decimal(2), valid_from=NOON - timedelta(days=1))
    assert seen([run], allocation.cluster).charged == 0
    assert ledger.balance(allocation).used == 2 * HOUR


def test_a_run_knows_its_person_and_never_forgets(allocation: Allocation, mei: User) -> None:
    run = RunFactory.create()
    record_runs(
        [run],
        cluster=allocation.cluster,
        as_of=NOON + timedelta(days=1),
        in_queue=(),
        attribute=lambda runs: lambda run: Attribution(person_id=mei.pk),
    )
    seen([run], allocation.cluster)
    assert UsageRecord.objects.get().person == mei
    assert UsageDay.objects.get().person == mei


def test_the_allocation_that_was_held_pays(project: Project, allocation: Allocation) -> None:
    other = Allocation.objects.create(
        project=project,
        cluster=allocation.cluster,
        start=allocation.start,
        end=allocation.end + timedelta(days=1),
        usable_until=allocation.end + timedelta(days=1),
    )
    record_runs(
        [RunFactory.create()],
        cluster=allocation.cluster,
        as_of=NOON + timedelta(days=1),
        in_queue=(),
        attribute=lambda runs: lambda run: Attribution(allocation_id=other.pk),
    )
    assert ledger.balance(other).used == 2 * HOUR
    assert ledger.balance(allocation).used == 0


def test_an_unreadable_record_is_kept_once(firefly: Cluster) -> None:
    rejected = [("17|x|", "No such column."), ("17|x|", "No such column."), ("\udcff\0", "Not text.")]
    assert usage.quarantine(firefly, rejected) == 2
    assert usage.quarantine(firefly, rejected) == 0
    assert QuarantinedRecord.objects.count() == 2


@given(
    start=st.integers(0, 100_000_000).map(lambda seconds: NOON + timedelta(seconds=seconds)),
    seconds=st.integers(0, 10 * 86_400),
    gpus=st.integers(0, 10_000),
)
def test_the_days_of_a_run_sum_to_its_whole(start: datetime, seconds: int, gpus: int) -> None:
    held = Holding(start, start + timedelta(seconds=seconds), gpus)
    parts = dict(held.by_day())
    assert sum(parts.values()) == held.gpu_seconds == gpus * seconds
    assert all(0 < part <= gpus * 86_400 for part in parts.values())


@pytest.mark.django_db(transaction=True)
def test_the_same_records_from_two_at_once_are_counted_once(allocation: Allocation) -> None:
    runs = [RunFactory.create(db_index=str(n)) for n in range(20)]

    def collect(_: int) -> str:
        try:
            seen(runs, allocation.cluster)
        except IntegrityError:
            return "came second"  # and wrote nothing; its next round finds all there
        finally:
            connection.close()
        return "collected"

    with ThreadPoolExecutor(max_workers=4) as threads:
        assert "collected" in set(threads.map(collect, range(4)))
    assert UsageRecord.objects.count() == 20
    assert ledger.balance(allocation).used == 40 * HOUR
    assert days() == {NOON.date(): 40 * HOUR}
