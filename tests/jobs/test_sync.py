"""What a poll may conclude, and what it may not: answers that a real cluster gives only on bad days."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from accounting import ledger
from accounting.models import Allocation, Cluster, Collection, QuarantinedRecord, UsageRecord
from accounting.runs import Run
from jobs import sync
from jobs.clusters import Poll
from jobs.models import ClusterHealth, Job
from jobs.schedulers import AnswerError, Records, Rejected
from jobs.spec import QueueEntry
from jobs.ssh import Unreachable
from jobs.states import State
from portal.models import User
from tests.factories import ClusterAccountFactory, JobFactory, RunFactory

pytestmark = pytest.mark.django_db

Answer = Poll | Exception


class Door:
    """Stands where the cluster's door is, and gives one prepared answer."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[tuple[datetime, datetime]] = []

    def __enter__(self) -> Door:
        return self

    def __exit__(self, *_: object) -> None: ...

    def poll(self, since: datetime, until: datetime) -> Poll:
        self.asked.append((since, until))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Callable[[Answer], Door]:
    def answers(answer: Answer) -> Door:
        door = Door(answer)
        monkeypatch.setattr(sync, "connect_to", lambda _name: door)
        return door

    return answers


@pytest.fixture
def job(mei: User, allocation: Allocation) -> Job:
    """A running job with its hold; the cluster knows it as 7."""
    ClusterAccountFactory.create(user=mei, cluster=allocation.cluster, username="fp-mei")
    job = JobFactory.create(owner=mei, allocation=allocation, state=State.RUNNING, scheduler_id="7")
    Job.objects.filter(pk=job.pk).update(created_at=timezone.now() - timedelta(hours=2))
    ledger.hold(allocation, 7200, reference=job.token)
    job.refresh_from_db()
    return job


def look(
    *, queue: tuple[QueueEntry, ...] = (), runs: tuple[Run, ...] = (), rejected: tuple[Rejected, ...] = ()
) -> Poll:
    return Poll(queue, Records(runs, rejected), None, 30, timezone.now().replace(microsecond=0))


def entry(job: Job, state: str, **changes: str) -> QueueEntry:
    said = {
        "scheduler_id": "7",
        "job_id_raw": "7",
        "token": job.token,
        "user": "fp-mei",
        "reason": "None",
    } | changes
    return QueueEntry(
        account="x", partition="a100", state=state, submitted_at=None, started_at=None, ended_at=None, **said
    )


def run(job: Job, state: str, **changes: object) -> Run:
    start = timezone.now().replace(microsecond=0) - timedelta(hours=1)
    return RunFactory.create(
        job_id="7",
        job_id_raw="7",
        account=job.project.account,
        state=state,
        start=start,
        submit=start,
        end=start + timedelta(minutes=30),
        **changes,
    )


def test_not_in_the_queue_is_not_finished(job: Job, answers: Callable[[Answer], Door]) -> None:
    answers(look())
    assert sync.poll(job.cluster_id) == []
    assert Job.objects.get(pk=job.pk).state == State.RUNNING


def test_a_record_ends_it_with_charge_and_release_together(
    job: Job, answers: Callable[[Answer], Door]
) -> None:
    answers(look(runs=(run(job, "TIMEOUT"),)))
    assert sync.poll(job.cluster_id) == [job.pk]
    ended = Job.objects.get(pk=job.pk)
    assert (ended.state, ended.reason) == (State.FAILED, "TIMEOUT")
    balance = ledger.balance(job.allocation)
    assert (balance.used, balance.held) == (2 * 30 * 60, 0)


def test_a_record_of_a_job_that_still_stands_in_the_queue_does_not_end_it(
    job: Job, answers: Callable[[Answer], Door]
) -> None:
    answers(look(queue=(entry(job, "PENDING", reason="BeginTime"),), runs=(run(job, "PREEMPTED"),)))
    assert sync.poll(job.cluster_id) == []
    waiting = Job.objects.get(pk=job.pk)
    assert (waiting.state, waiting.reason, waiting.started_at) == (State.QUEUED, "BeginTime", None)
    assert ledger.balance(job.allocation).held == 7200


def test_a_reason_may_be_a_whole_sentence(job: Job, answers: Callable[[Answer], Door]) -> None:
    sentence = "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions"
    answers(look(queue=(entry(job, "PENDING", reason=sentence),)))
    sync.poll(job.cluster_id)
    assert Job.objects.get(pk=job.pk).reason == sentence


def test_of_a_requeued_job_the_last_run_has_the_word(job: Job, answers: Callable[[Answer], Door]) -> None:
    first = run(job, "NODE_FAIL", db_index="1")
    start = timezone.now().replace(microsecond=0) - timedelta(minutes=20)
    last = RunFactory.create(
        job_id="7",
        job_id_raw="7",
        db_index="2",
        account=job.project.account,
        start=start,
        end=start + timedelta(minutes=5),
    )
    answers(look(runs=(last, first)))
    sync.poll(job.cluster_id)
    assert Job.objects.get(pk=job.pk).state == State.SUCCEEDED
    assert UsageRecord.objects.count() == 2


def test_an_old_record_under_a_wrapped_id_is_anothers(job: Job, answers: Callable[[Answer], Door]) -> None:
    long_ago = timezone.now().replace(microsecond=0) - timedelta(days=400)
    answers(look(runs=(RunFactory.create(job_id="7", job_id_raw="7", start=long_ago),)))
    assert sync.poll(job.cluster_id) == []
    assert Job.objects.get(pk=job.pk).state == State.RUNNING


def test_a_queue_entry_with_a_forged_name_moves_nothing(
    mei: User, job: Job, answers: Callable[[Answer], Door]
) -> None:
    Job.objects.filter(pk=job.pk).update(state=State.SUBMITTING, scheduler_id="")
    answers(look(queue=(entry(job, "RUNNING", user="fp-otto"),)))
    sync.poll(job.cluster_id)
    assert Job.objects.get(pk=job.pk).state == State.SUBMITTING
    answers(look(queue=(entry(job, "RUNNING"),)))
    sync.poll(job.cluster_id)
    assert Job.objects.get(pk=job.pk).scheduler_id == "7"


def test_a_failed_answer_changes_nothing_and_is_told(job: Job, answers: Callable[[Answer], Door]) -> None:
    answers(look())
    sync.poll(job.cluster_id)
    watermark = Collection.objects.get(cluster=job.cluster).complete_until
    answers(Unreachable("nobody listens there"))
    assert sync.poll(job.cluster_id) == []
    health = ClusterHealth.objects.get(cluster=job.cluster)
    assert (health.failures, health.problem) == (1, "nobody listens there")
    assert Collection.objects.get(cluster=job.cluster).complete_until == watermark
    assert sync.due() == []


def test_without_accounting_the_queue_still_counts_and_the_watermark_stays(
    job: Job, answers: Callable[[Answer], Door]
) -> None:
    trouble = AnswerError("sacct did not end in time.", transient=True)
    queue = (entry(job, "PENDING", reason="Resources"),)
    answers(Poll(queue, None, trouble, 4, timezone.now()))
    sync.poll(job.cluster_id)
    assert Job.objects.get(pk=job.pk).reason == "Resources"
    assert not Collection.objects.exists()
    health = ClusterHealth.objects.get(cluster=job.cluster)
    assert health.is_reachable
    assert "sacct" in health.problem


def test_what_cannot_be_read_is_kept_and_stops_nothing(job: Job, answers: Callable[[Answer], Door]) -> None:
    answers(look(runs=(run(job, "COMPLETED"),), rejected=(Rejected("9|x|", "is cut off"),)))
    assert sync.poll(job.cluster_id) == [job.pk]
    assert QuarantinedRecord.objects.get().reason == "is cut off"


def test_records_are_asked_for_from_before_the_watermark_and_earlier_for_a_job_without_a_record(
    job: Job, firefly: Cluster, answers: Callable[[Answer], Door]
) -> None:
    now = timezone.now()
    Collection.objects.create(cluster=firefly, complete_until=now)
    door = answers(look())
    sync.poll(firefly.pk)
    assert door.asked[0][0] == now - sync.OVERLAP
    Job.objects.filter(pk=job.pk).update(confirmed_at=now - timedelta(minutes=5))
    door = answers(look())
    sync.poll(firefly.pk)
    assert door.asked[0][0] < job.created_at


def test_only_one_asks_at_a_time(job: Job, answers: Callable[[Answer], Door]) -> None:
    door = answers(look())
    ClusterHealth.objects.create(cluster=job.cluster, lease_until=timezone.now() + timedelta(seconds=60))
    assert sync.poll(job.cluster_id) == []
    assert door.asked == []


def test_two_rings_within_a_period_ask_once(job: Job, answers: Callable[[Answer], Door]) -> None:
    door = answers(look())
    sync.poll_if_due(job.cluster_id)
    sync.poll_if_due(job.cluster_id)
    assert len(door.asked) == 1
    ClusterHealth.objects.update(ask_at=timezone.now(), poll_seconds=0)
    sync.poll_if_due(job.cluster_id)
    assert len(door.asked) == 2


def test_a_ring_that_comes_while_the_breaker_is_open_asks_nothing(
    job: Job, answers: Callable[[Answer], Door]
) -> None:
    door = answers(look())
    ClusterHealth.objects.create(cluster=job.cluster, try_again_at=timezone.now() + timedelta(seconds=9))
    assert sync.poll_if_due(job.cluster_id) == []
    assert door.asked == []


def test_who_overran_the_lease_does_not_release_the_next_ones(
    job: Job, answers: Callable[[Answer], Door], monkeypatch: pytest.MonkeyPatch
) -> None:
    anothers = timezone.now() + timedelta(seconds=60)

    def asks_for_long(*_: object) -> Poll:
        ClusterHealth.objects.update(lease_until=anothers)
        return look()

    monkeypatch.setattr(answers(look()), "poll", asks_for_long)
    sync.poll(job.cluster_id)
    assert ClusterHealth.objects.get().lease_until == anothers
