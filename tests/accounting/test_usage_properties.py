"""Whatever windows the records come in, however often and in which order: the figures are those of one look."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounting import ledger
from accounting.models import Allocation, UsageDay, UsageRecord
from accounting.rebuilding import differences
from accounting.runs import Run
from accounting.usage import record_runs
from tests.factories import RunFactory

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
AS_OF = BEGIN + timedelta(days=40)
TYPES = ((), (("a100", 1),), (("a100", 2), ("h100", 1)))


@st.composite
def versions(draw: st.DrawFn) -> list[Run]:
    """What the scheduler said of one record, the newest last: it may have been corrected."""
    key = draw(st.integers(1, 5))
    return [draw(version(key)) for _ in range(draw(st.integers(1, 3)))]


@st.composite
def version(draw: st.DrawFn, key: int) -> Run:
    start = BEGIN + timedelta(seconds=draw(st.integers(0, 10 * 86_400)))
    end = draw(
        st.none() | st.integers(-3600, 4 * 86_400).map(lambda length: start + timedelta(seconds=length))
    )
    typed = draw(st.sampled_from(TYPES))
    state = draw(st.sampled_from(("COMPLETED", "FAILED", "NODE_FAIL", "REQUEUED", "RUNNING")))
    made: Run = RunFactory.create(
        db_index=str(key),
        job_id_raw=str(key),
        job_id=str(key),
        start=start,
        end=end,
        state=state,
        gpus=sum(count for _, count in typed) + draw(st.integers(0, 4)),
        gpus_by_type=typed,
        shards=draw(st.sampled_from((0, 0, 8))),
        partition=draw(st.sampled_from(("a100", "old"))),
    )
    return made


def figures(allocation: Allocation) -> Any:
    """Everything that reports and balances read."""
    records = UsageRecord.objects.order_by("identity").values_list("identity", "gpu_seconds", "provisional")
    cells = UsageDay.objects.order_by("day", "user", "partition", "gpu_type", "state")
    days = cells.values_list(
        "day", "partition", "gpu_type", "state", "gpu_seconds", "provisional_gpu_seconds", "shard_seconds"
    )
    return list(records), list(days), ledger.balance(allocation).used


def see(allocation: Allocation, runs: list[Run]) -> None:
    record_runs(runs, cluster=allocation.cluster, as_of=AS_OF, in_queue=("1", "3"))


class Undo(Exception):
    pass


def alone(allocation: Allocation, *pulls: list[Run]) -> Any:
    """The figures after these pulls, of which nothing stays."""
    try:
        with transaction.atomic():
            for runs in pulls:
                see(allocation, runs)
            found = figures(allocation)
            assert not list(differences())  # and they follow from the records
            raise Undo
    except Undo:
        return found


slow = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
histories = st.lists(versions(), max_size=6).map(lambda several: [run for one in several for run in one])


@pytest.mark.django_db
@slow
@given(runs=histories, data=st.data())
def test_any_split_of_a_window_is_one_pull(
    allocation: Allocation, runs: list[Run], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(runs)))
    assert alone(allocation, runs[:cut], runs[cut:]) == alone(allocation, runs)


@pytest.mark.django_db
@slow
@given(runs=histories)
def test_fed_twice_is_once(allocation: Allocation, runs: list[Run]) -> None:
    assert alone(allocation, runs, runs) == alone(allocation, runs)


@pytest.mark.django_db
@slow
@given(runs=histories, data=st.data())
def test_the_order_of_different_records_is_nothing(
    allocation: Allocation, runs: list[Run], data: st.DataObject
) -> None:
    latest = list({run.identity: run for run in runs}.values())
    shuffled = data.draw(st.permutations(latest))
    assert alone(allocation, *([run] for run in shuffled)) == alone(allocation, runs)


@pytest.mark.django_db
@slow
@given(runs=histories)
def test_days_sum_to_totals_and_nothing_is_negative(allocation: Allocation, runs: list[Run]) -> None:
    records, days, used = alone(allocation, *([run] for run in runs))
    assert sum(row[4] for row in days) == sum(row[1] for row in records)
    assert sum(row[5] for row in days) == sum(row[1] for row in records if row[2])
    assert all(row[4] >= 0 and row[6] >= 0 for row in days)
    # Ended records at the factor of their partitions, which is 1.
    assert used == sum(gpu_seconds for _, gpu_seconds, provisional in records if not provisional)
