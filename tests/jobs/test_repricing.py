"""A hold is the worst case of what can still run: it follows what the scheduler really gave, and is whole while a job can run again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from accounting import ledger
from accounting.models import Allocation
from accounting.runs import Run
from jobs import repricing, sync
from jobs.clusters import Poll
from jobs.models import Job
from jobs.schedulers import Records
from jobs.spec import QueueEntry
from jobs.states import State
from portal.models import AuditEvent, User
from tests.factories import ChargeFactorFactory, ClusterAccountFactory, JobFactory, RunFactory

pytestmark = pytest.mark.django_db
HOUR = 3600


@pytest.fixture
def job(mei: User, allocation: Allocation) -> Job:
    """Two GPUs for an hour, held and running; the cluster knows it as 7."""
    ClusterAccountFactory.create(user=mei, cluster=allocation.cluster, username="fp-mei")
    partition = allocation.cluster.partitions.get(name="a100")
    job = JobFactory.create(
        owner=mei, allocation=allocation, partition=partition, state=State.RUNNING, scheduler_id="7"
    )
    Job.objects.filter(pk=job.pk).update(created_at=timezone.now() - timedelta(hours=1))
    job.refresh_from_db()
    ledger.hold(allocation, 2 * HOUR, reference=job.token, person=mei)
    return job


def entry(job: Job, state: str = "RUNNING", **changes: str) -> QueueEntry:
    said = {"scheduler_id": "7", "job_id_raw": "7", "nodes": "" if state == "PENDING" else "n1", **changes}
    return QueueEntry(
        token=job.token, user="fp-mei", reason="None", account="x", partition="a100", state=state,
        submitted_at=None, started_at=None, ended_at=None, **said,
    )  # fmt: skip


def running(job: Job, **changes: Any) -> Run:
    now = timezone.now().replace(microsecond=0)
    said = {"job_id": "7", "job_id_raw": "7", "state": "RUNNING", "start": now, "end": None, "submit": now}
    return RunFactory.create(**{**said, "account": job.project.account, **changes})


def look(job: Job, queue: Sequence[QueueEntry], runs: Sequence[Run], monkeypatch: pytest.MonkeyPatch) -> None:
    """One poll that hears this."""
    answer = Poll(tuple(queue), Records(tuple(runs), ()), None, 30, timezone.now())
    monkeypatch.setattr(sync, "_ask", lambda *_: answer)
    sync.poll(job.cluster_id)


def held(job: Job) -> int:
    return ledger.balance(job.allocation).held


def test_a_job_that_got_what_it_asked_for_keeps_its_hold(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    look(job, [entry(job)], [running(job)], monkeypatch)
    assert held(job) == 2 * HOUR
    assert not AuditEvent.objects.filter(action="hold re-priced").exists()


def test_on_exclusive_nodes_it_holds_all_their_gpus(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(2):
        look(job, [entry(job)], [running(job, gpus=16)], monkeypatch)
    assert held(job) == 16 * HOUR
    noted = AuditEvent.objects.get(action="hold re-priced")
    assert noted.detail == {"before": 2 * HOUR, "gpu_seconds": 16 * HOUR, "short": 0}


def test_a_limit_that_an_operator_raised_counts(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    look(job, [entry(job)], [running(job, time_limit_minutes=90)], monkeypatch)
    assert held(job) == 3 * HOUR


def test_the_price_is_that_of_the_start(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    start = timezone.now().replace(microsecond=0) + timedelta(minutes=1)
    ChargeFactorFactory.create(partition=job.partition, factor=Decimal("1.5"), valid_from=start)
    look(job, [entry(job)], [running(job, start=start)], monkeypatch)
    assert held(job) == 3 * HOUR


def test_it_may_hold_more_than_there_is_and_that_is_noted(job: Job) -> None:
    runs = [running(job, gpus=6000)]
    assert repricing.follow(job.cluster, {"7": job}, [entry(job)], runs) == [job.pk]
    assert ledger.balance(job.allocation).available == -1000 * HOUR
    assert AuditEvent.objects.get(action="hold re-priced").detail["short"] == 1000 * HOUR
    with pytest.raises(ledger.NotEnough):
        ledger.hold(job.allocation, 1, reference="next")


def test_what_runs_and_has_no_record_yet_changes_nothing(job: Job) -> None:
    assert repricing.follow(job.cluster, {"7": job}, [entry(job)], []) == []


def test_an_array_holds_for_each_task_that_can_still_run(job: Job) -> None:
    tasks = [entry(job, "PENDING", scheduler_id=f"7_{n}") for n in range(5)]
    repricing.follow(job.cluster, {"7": job}, tasks, [])
    assert held(job) == 5 * 2 * HOUR
    repricing.follow(job.cluster, {"7": job}, tasks[4:], [])
    assert held(job) == 2 * HOUR


def test_components_of_a_het_job_hold_each_their_own(job: Job) -> None:
    parts = [entry(job, scheduler_id=f"7+{n}", job_id_raw=str(7 + n)) for n in range(2)]
    runs = [running(job, job_id_raw="7"), running(job, job_id_raw="8", gpus=8)]
    repricing.follow(job.cluster, {"7": job}, parts, runs)
    assert held(job) == 10 * HOUR


def test_another_jobs_entry_with_its_name_is_not_its(job: Job) -> None:
    theirs = [entry(job, "PENDING", scheduler_id="8_1"), entry(job, "PENDING", scheduler_id="8_2")]
    assert repricing.follow(job.cluster, {"7": job}, theirs, []) == []


def test_a_requeued_job_holds_its_whole_limit_again_beside_the_charge(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = timezone.now().replace(microsecond=0) - timedelta(minutes=30)
    first = running(
        job, db_index="1", state="REQUEUED", start=start, end=start + timedelta(minutes=15), submit=start
    )
    look(job, [entry(job, "PENDING")], [first], monkeypatch)
    balance = ledger.balance(job.allocation)
    assert (balance.used, balance.held) == (1800, 2 * HOUR)
    last = running(
        job,
        db_index="2",
        start=start + timedelta(minutes=20),
        end=start + timedelta(minutes=25),
        submit=start,
        state="COMPLETED",
    )
    look(job, [], [first, last], monkeypatch)
    balance = ledger.balance(job.allocation)
    assert (balance.used, balance.held) == (2400, 0)


def test_a_job_that_ended_is_not_held_again(job: Job) -> None:
    ledger.release(job.token)
    assert ledger.reprice(job.token, HOUR) is None
    assert held(job) == 0
