"""Whose is a job that stands on the cluster under a token of ours? Adopted is only what surely is a person's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from accounting import ledger
from accounting.models import Allocation, Cluster, Collection, Partition
from accounting.runs import Run
from jobs import adopting, sync
from jobs.clusters import Poll
from jobs.models import ClusterHealth, Job
from jobs.schedulers import AnswerError, Records
from jobs.spec import ClusterError, JobSeen, QueueEntry
from jobs.states import State
from portal.models import AuditEvent, OutgoingMail, Project, User
from tests.factories import ClusterAccountFactory, JobFactory, RunFactory
from tests.pages import browser, words

pytestmark = pytest.mark.django_db

TOKEN = "0123456789abcdef0123456789"
NOW = timezone.now().replace(microsecond=0)


class Door:
    """Stands where the cluster's door is, for the poll and for the question after it."""

    def __init__(self, answer: Poll, seen: Sequence[JobSeen] | ClusterError) -> None:
        self.answer = answer
        self.seen = seen
        self.asked: list[list[str]] = []

    def __enter__(self) -> Door:
        return self

    def __exit__(self, *_: object) -> None: ...

    def poll(self, since: datetime, until: datetime) -> Poll:
        return self.answer

    def named(self, job_ids: Sequence[str], since: datetime) -> list[JobSeen]:
        self.asked.append(list(job_ids))
        if isinstance(self.seen, ClusterError):
            raise self.seen
        return [one for one in self.seen if one.scheduler_id.partition("_")[0] in job_ids]


Polls = Callable[..., Door]


@pytest.fixture
def polls(firefly: Cluster, monkeypatch: pytest.MonkeyPatch) -> Polls:
    """One poll with these answers."""

    def polls(
        *,
        queue: tuple[QueueEntry, ...] = (),
        runs: tuple[Run, ...] = (),
        seen: Sequence[JobSeen] | ClusterError = (),
    ) -> Door:
        door = Door(Poll(queue, Records(runs, ()), None, 30, NOW), seen)
        for module in (sync, adopting):
            monkeypatch.setattr(module, "connect_to", lambda _name: door)
        sync.poll(firefly.pk)
        return door

    return polls


@pytest.fixture
def mei_runs(mei: User, firefly: Cluster, allocation: Allocation, a100: Partition) -> User:
    """She is known on the cluster; it was asked a moment ago."""
    ClusterAccountFactory.create(user=mei, cluster=firefly, username="fp-mei")
    Collection.objects.create(cluster=firefly, complete_until=NOW - timedelta(seconds=2))
    return mei


def entry(project: Project, **changes: str) -> QueueEntry:
    said = {
        "scheduler_id": "7",
        "job_id_raw": "7",
        "token": TOKEN,
        "user": "fp-mei",
        "account": project.account,
        "state": "RUNNING",
    } | changes
    return QueueEntry(
        partition="a100", reason="None", submitted_at=NOW, started_at=NOW, ended_at=None, **said
    )


def as_seen(project: Project, **changes: object) -> JobSeen:
    said: dict[str, object] = {
        "scheduler_id": "7",
        "token": TOKEN,
        "user": "fp-mei",
        "account": project.account,
        "partition": "a100",
        "qos": "normal",
        "gpus": 4,
        "time_limit_minutes": 30,
        "submitted_at": NOW - timedelta(minutes=5),
    }
    return JobSeen(**(said | changes))  # type: ignore[arg-type]


def ended(project: Project, **changes: object) -> Run:
    start = NOW - timedelta(minutes=5)
    said: dict[str, object] = {
        "account": project.account,
        "start": start,
        "end": start + timedelta(minutes=2),
    }
    return RunFactory.create(job_id="7", job_id_raw="7", **(said | changes))


def test_an_unknown_token_in_the_queue_is_adopted_with_its_hold(
    mei_runs: User, project: Project, allocation: Allocation, sam: User, polls: Polls
) -> None:
    polls(queue=(entry(project),), seen=[as_seen(project)])

    job = Job.objects.get()
    assert (job.token, job.scheduler_id, job.state) == (TOKEN, "7", State.RUNNING)
    assert (job.owner, job.project, job.gpus, job.time_limit_minutes) == (mei_runs, project, 4, 30)
    assert ledger.balance(allocation).held == 4 * 30 * 60
    assert AuditEvent.objects.get(action="job found on the cluster").project == project
    assert set(OutgoingMail.objects.values_list("recipient", flat=True)) == {mei_runs.pk, sam.pk}
    page = words(browser(mei_runs).get(f"/jobs/{job.pk}/"))
    assert "This job was found on the cluster" in page


def test_an_unknown_sweep_is_adopted_whole(mei_runs: User, project: Project, polls: Polls) -> None:
    parts = {"534_[2-3%1]": "534", "534_1": "536"}
    queue = tuple(
        entry(project, scheduler_id=number, job_id_raw=raw, state="PENDING" if "[" in number else "RUNNING")
        for number, raw in parts.items()
    )
    door = polls(queue=queue, seen=[as_seen(project, scheduler_id=number) for number in ("534_0", *parts)])

    assert door.asked == [["534"]]
    job = Job.objects.get()
    assert (job.scheduler_id, job.tasks, job.tasks_at_once) == ("534", 4, 1)
    assert (job.state, job.task_states[1:]) == (State.RUNNING, "rww")


def test_of_two_with_one_token_the_first_is_adopted(mei_runs: User, project: Project, polls: Polls) -> None:
    two = [("7", NOW - timedelta(minutes=2)), ("8", NOW - timedelta(minutes=3))]
    polls(
        queue=tuple(entry(project, scheduler_id=number, job_id_raw=number) for number, _at in two),
        seen=[as_seen(project, scheduler_id=number, submitted_at=at) for number, at in two],
    )
    assert Job.objects.get().scheduler_id == "8"


def test_its_hold_is_never_refused(
    mei_runs: User, project: Project, allocation: Allocation, polls: Polls
) -> None:
    wanted = as_seen(project, gpus=5000, time_limit_minutes=300)
    polls(queue=(entry(project),), seen=[wanted])
    assert ledger.balance(allocation).available < 0


def test_it_is_adopted_once(mei_runs: User, project: Project, polls: Polls) -> None:
    polls(queue=(entry(project),), seen=[as_seen(project)])
    door = polls(queue=(entry(project),), seen=[as_seen(project)])
    assert door.asked == []
    assert Job.objects.count() == 1
    assert OutgoingMail.objects.filter(template="job_found").count() == 1


@pytest.mark.parametrize(
    "strange",
    [
        {"user": "fp-nobody"},
        {"account": "not-here"},
        {"token": "wrap"},
        {"token": TOKEN.upper()},
        {"scheduler_id": "7+1"},  # ours have no components
    ],
)
def test_what_is_not_surely_ours_is_not_even_asked_for(
    strange: dict[str, str], mei_runs: User, project: Project, polls: Polls
) -> None:
    door = polls(queue=(entry(project, **strange),), seen=[as_seen(project)])
    assert door.asked == []
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    "strange",
    [{"gpus": 0}, {"time_limit_minutes": None}, {"partition": "elsewhere"}, {"token": "wrap"}, {"user": "x"}],
)
def test_what_cannot_be_a_job_of_the_portal_is_left_alone(
    strange: dict[str, object], mei_runs: User, project: Project, polls: Polls
) -> None:
    polls(queue=(entry(project),), seen=[as_seen(project, **strange)])
    assert not Job.objects.exists()
    assert not OutgoingMail.objects.exists()


def test_a_forged_name_moves_nobody_elses_job(
    mei_runs: User, otto: User, project: Project, allocation: Allocation, polls: Polls
) -> None:
    ClusterAccountFactory.create(user=otto, cluster=allocation.cluster, username="fp-otto")
    job = JobFactory.create(owner=otto, allocation=allocation, token=TOKEN)
    polls(queue=(entry(project),), seen=[as_seen(project)])
    assert Job.objects.get().state == State.NEW
    assert Job.objects.get() == job


def test_a_forged_name_does_not_hide_the_job_either(
    mei_runs: User, project: Project, allocation: Allocation, polls: Polls
) -> None:
    JobFactory.create(owner=mei_runs, allocation=allocation, token=TOKEN, state=State.SUBMITTING)
    forged = entry(project, user="fp-otto", scheduler_id="8", job_id_raw="8")
    polls(queue=(entry(project), forged))
    assert Job.objects.get().scheduler_id == "7"


@pytest.mark.parametrize("state", [State.NEW, State.SUBMITTING])
def test_a_job_that_is_believed_unsent_is_advanced(
    state: State, mei_runs: User, project: Project, allocation: Allocation, polls: Polls
) -> None:
    JobFactory.create(owner=mei_runs, allocation=allocation, token=TOKEN, state=state)
    polls(queue=(entry(project, state="PENDING"),))
    job = Job.objects.get()
    assert (job.state, job.scheduler_id, job.found_at) == (State.QUEUED, "7", None)


def test_after_a_silence_what_ended_is_found_and_charged_once(
    mei_runs: User, project: Project, allocation: Allocation, polls: Polls
) -> None:
    Collection.objects.update(complete_until=NOW - timedelta(hours=1))
    for _ in range(2):
        polls(runs=(ended(project, db_index="41", gpus=4),), seen=[as_seen(project)])
    assert Job.objects.get().state == State.SUCCEEDED
    balance = ledger.balance(allocation)
    assert (balance.used, balance.held) == (4 * 120, 0)


def test_and_for_a_while_what_the_accounting_shows_late(
    mei_runs: User, project: Project, polls: Polls
) -> None:
    Collection.objects.update(complete_until=NOW - timedelta(hours=1))
    polls()
    door = polls(runs=(ended(project),), seen=[as_seen(project)])
    assert door.asked == [["7"]]
    assert Job.objects.exists()


def test_without_a_silence_no_run_is_asked_for(mei_runs: User, project: Project, polls: Polls) -> None:
    """Members may send jobs past the portal: each would cost a call."""
    door = polls(runs=(ended(project),), seen=[as_seen(project)])
    assert door.asked == []
    assert ClusterHealth.objects.get().catching_up_until is None


def test_no_answer_leaves_the_watermark_where_it_was(
    mei_runs: User, project: Project, firefly: Cluster, polls: Polls
) -> None:
    early = NOW - timedelta(hours=1)
    Collection.objects.update(complete_until=early)
    polls(runs=(ended(project),), seen=AnswerError("sacct did not end in time.", transient=True))
    assert Collection.objects.get().complete_until == early
    health = ClusterHealth.objects.get()
    assert health.is_reachable
    assert "sacct" in health.problem
