"""A sweep: what a poll may conclude of its tasks, when it has ended and how, and what is held meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from django.test import TestCase
from django.utils import timezone

from accounting import ledger
from accounting.models import Allocation, Hold, LedgerEntry, UsageRecord
from accounting.runs import Run
from jobs import balance_checks, cost, reasons, sync
from jobs.array_tasks import GONE, tasks_of
from jobs.clusters import Poll
from jobs.models import Job
from jobs.schedulers import AnswerError, Records
from jobs.spec import QueueEntry
from jobs.states import State
from portal.models import AuditEvent, User
from tests.factories import ClusterAccountFactory, JobFactory, RunFactory

pytestmark = pytest.mark.django_db
HOUR = 3600
ONE = 2 * HOUR  # held for each task


@pytest.fixture
def sweep(mei: User, allocation: Allocation) -> Job:
    """Four tasks of two GPUs for an hour each; the cluster knows them as 534."""
    ClusterAccountFactory.create(user=mei, cluster=allocation.cluster, username="fp-mei")
    partition = allocation.cluster.partitions.get(name="a100")
    job = JobFactory.create(
        owner=mei, allocation=allocation, partition=partition, tasks=4, state=State.QUEUED, scheduler_id="534"
    )
    now = timezone.now()
    Job.objects.filter(pk=job.pk).update(created_at=now - timedelta(hours=2), confirmed_at=now)
    ledger.hold(allocation, 4 * ONE, reference=job.token, person=mei)
    job.refresh_from_db()
    return job


def entry(job: Job, tasks: str, state: str = "PENDING", **changes: Any) -> QueueEntry:
    said = {
        "scheduler_id": f"534_{tasks}", "job_id_raw": f"9{tasks}", "token": job.token, "user": "fp-mei",
        "nodes": "n1" if state == "RUNNING" else "", "reason": "Priority", "account": "x", "partition": "a100",
        "state": state, "submitted_at": None, "started_at": None, "ended_at": None,
    }  # fmt: skip
    return QueueEntry(**(said | changes))


def run(job: Job, tasks: str, state: str = "COMPLETED", **changes: Any) -> Run:
    start = job.created_at.replace(microsecond=0) + timedelta(minutes=10)
    said = {
        "job_id": f"534_{tasks}", "job_id_raw": f"9{tasks}", "account": job.project.account, "state": state,
        "gpus": 2, "submit": job.created_at.replace(microsecond=0), "start": start,
        "end": start + timedelta(minutes=30), "exit_code": "1:0" if state == "FAILED" else "0:0",
    }  # fmt: skip
    return RunFactory.create(**(said | changes))


def running(job: Job, tasks: str) -> Run:
    return run(job, tasks, "RUNNING", end=None)


def never_began(job: Job, tasks: str) -> Run:
    return run(job, tasks, "CANCELLED", start=None, gpus=0)


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch) -> Any:
    def look(job: Job, queue: Sequence[QueueEntry] = (), runs: Sequence[Run] | None = ()) -> Job:
        """One poll that hears this. `runs` None: the accounting gave no good answer."""
        trouble = None if runs is not None else AnswerError("no slurmdbd", transient=True)
        records = Records(tuple(runs), ()) if runs is not None else None
        answer = Poll(tuple(queue), records, trouble, 30, timezone.now())
        monkeypatch.setattr(sync, "_ask", lambda *_: answer)
        sync.poll(job.cluster_id)
        job.refresh_from_db()
        return job

    return look


def held(job: Job) -> int:
    return ledger.balance(job.allocation).held


# ── Whose is it? ─────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("said", "tasks"),
    [
        ("534_3", {3}),
        ("534_[1-2]", {1, 2}),
        ("534_[0,2-3%2]", {0, 2, 3}),
        ("534_[0-2:2]", {0, 2}),
        ("534_[3]", {3}),
        ("534", {0, 1, 2, 3}),
        ("534_[2-999999]", {2, 3}),
        ("534_7", set()),
        ("534_[0,1,...]", set()),
        ("534_", set()),
        ("534_[]", set()),
        ("534_-1", set()),
        ("534_１", set()),
    ],
)
def test_an_id_says_which_tasks_it_is_of(sweep: Job, said: str, tasks: set[int]) -> None:
    assert tasks_of(sweep, said) == tasks


# ── On its way ───────────────────────────────────────────────────────────────


def test_it_waits_while_none_has_begun(sweep: Job, look: Any) -> None:
    soon = timezone.now() + timedelta(minutes=5)
    look(sweep, [entry(sweep, "[0-3]", started_at=soon)])
    assert (sweep.state, sweep.reason, sweep.expected_start_at) == (State.QUEUED, "Priority", soon)
    assert sweep.task_states == "wwww"


def test_it_runs_once_one_has_begun(sweep: Job, look: Any) -> None:
    begun = timezone.now() - timedelta(minutes=5)
    look(sweep, [entry(sweep, "0", "RUNNING", started_at=begun), entry(sweep, "[1-3]")])
    assert (sweep.state, sweep.started_at, sweep.task_states) == (State.RUNNING, begun, "rwww")


def test_it_goes_on_while_the_rest_waits(sweep: Job, look: Any) -> None:
    look(sweep, [entry(sweep, "[1-3]", reason="JobArrayTaskLimit")], [run(sweep, "0")])
    assert (sweep.state, sweep.task_states) == (State.RUNNING, "swww")


def test_all_that_wait_again_make_it_wait_again(sweep: Job, look: Any) -> None:
    look(sweep, [entry(sweep, "[0-3]", "RUNNING")])
    look(sweep, [entry(sweep, "[0-3]", reason="BeginTime")])
    assert (sweep.state, sweep.reason, sweep.started_at) == (State.QUEUED, "BeginTime", None)


def test_what_left_the_queue_without_a_record_has_not_ended(sweep: Job, look: Any) -> None:
    look(sweep, [entry(sweep, str(task), "RUNNING") for task in range(4)])
    look(sweep, [entry(sweep, "0", "COMPLETED", nodes="n1")], [run(sweep, "0")])
    assert (sweep.state, sweep.task_states) == (State.RUNNING, "srrr")


def test_the_end_of_a_task_is_remembered(sweep: Job, look: Any) -> None:
    look(sweep, [entry(sweep, "[2-3]")], [run(sweep, "0"), run(sweep, "1", "FAILED")])
    look(sweep, [entry(sweep, "[2-3]")])
    assert sweep.task_states == "sfww"
    look(sweep, (), [run(sweep, "2"), run(sweep, "3")])
    assert (sweep.state, sweep.task_states) == (State.FAILED, "sfss")


def test_a_preempted_task_waits_and_runs_again(sweep: Job, look: Any) -> None:
    first = run(sweep, "0", "PREEMPTED")
    look(sweep, [entry(sweep, "0"), entry(sweep, "[1-3]", "RUNNING")], [first])
    assert sweep.task_states == "wrrr"
    later = timedelta(minutes=45)
    again = run(sweep, "0", submit=sweep.created_at + later, start=sweep.created_at + later)
    again = again._replace(end=again.start + later if again.start else None)
    look(sweep, (), [again, *(run(sweep, str(task)) for task in (1, 2, 3)), first])
    assert (sweep.state, sweep.task_states) == (State.SUCCEEDED, "ssss")
    assert LedgerEntry.objects.filter(usage_record__job_id="534_0").count() == 2


def test_an_answer_without_accounting_ends_nothing(sweep: Job, look: Any) -> None:
    look(sweep, [entry(sweep, "0", "RUNNING"), entry(sweep, "[1-3]")])
    look(sweep, (), None)
    Job.objects.filter(pk=sweep.pk).update(confirmed_at=timezone.now() - 2 * GONE)
    look(sweep, (), None)
    assert (sweep.state, sweep.task_states) == (State.RUNNING, "rwww")


def test_another_array_with_its_name_or_its_number_is_not_its(sweep: Job, look: Any) -> None:
    old = sweep.created_at.replace(microsecond=0) - timedelta(days=300)
    look(
        sweep,
        [entry(sweep, "0", "RUNNING", token="another"), entry(sweep, "1", "RUNNING", scheduler_id="999_1")],
        [run(sweep, str(task), submit=old, start=old, end=old + timedelta(hours=1)) for task in range(4)],
    )
    assert (sweep.state, sweep.task_states) == (State.QUEUED, "wwww")


def test_a_lost_answer_is_adopted_under_the_arrays_id(sweep: Job, look: Any) -> None:
    Job.objects.filter(pk=sweep.pk).update(state=State.SUBMITTING, scheduler_id="")
    look(sweep, [entry(sweep, "0", "RUNNING"), entry(sweep, "1")])
    assert (sweep.state, sweep.scheduler_id) == (State.RUNNING, "534")


# ── How it ends ──────────────────────────────────────────────────────────────


def test_it_succeeds_when_all_did_and_each_is_charged_to_the_allocation_that_held(
    sweep: Job, look: Any
) -> None:
    look(sweep, (), [run(sweep, str(task)) for task in range(4)])
    assert (sweep.state, sweep.reason, sweep.task_states) == (State.SUCCEEDED, "COMPLETED", "ssss")
    assert sweep.started_at == run(sweep, "0").start
    assert sweep.ended_at == run(sweep, "0").end
    charges = LedgerEntry.objects.filter(kind=LedgerEntry.Kind.CHARGE)
    assert [(one.allocation, one.gpu_seconds) for one in charges] == [(sweep.allocation, -HOUR)] * 4
    assert set(UsageRecord.objects.values_list("person", flat=True)) == {sweep.owner_id}
    assert held(sweep) == 0


def test_the_same_answers_again_change_and_charge_nothing(sweep: Job, look: Any) -> None:
    for _ in range(2):
        look(sweep, (), [run(sweep, str(task), db_index=str(task + 1)) for task in range(4)])
    assert LedgerEntry.objects.filter(kind=LedgerEntry.Kind.CHARGE).count() == 4


def test_how_many_failed_is_said(sweep: Job, look: Any) -> None:
    look(sweep, (), [run(sweep, "0"), *(run(sweep, str(task), "FAILED") for task in (1, 2, 3))])
    assert (sweep.state, sweep.reason) == (State.FAILED, "TasksFailed")
    assert reasons.of_job(sweep).sentence == "3 of 4 tasks failed."


def test_cancelled_is_cancelled_whatever_failed_before(sweep: Job, look: Any) -> None:
    runs = [run(sweep, "0", "FAILED"), run(sweep, "1", "CANCELLED"), never_began(sweep, "[2-3%2]")]
    look(sweep, (), runs)
    assert (sweep.state, sweep.task_states) == (State.CANCELLED, "fccc")
    assert held(sweep) == 0


def test_a_stale_record_of_those_that_never_began_speaks_for_none_that_did(sweep: Job, look: Any) -> None:
    look(sweep, [entry(sweep, "1", "RUNNING")], [run(sweep, "0"), running(sweep, "1")])
    look(sweep, [entry(sweep, "1", "RUNNING")], [never_began(sweep, "[0-3]"), running(sweep, "1")])
    assert (sweep.state, sweep.task_states) == (State.RUNNING, "srcc")
    look(sweep, (), [never_began(sweep, "[0-3]")])
    assert (sweep.state, sweep.task_states) == (State.RUNNING, "srcc")


@pytest.mark.parametrize("tasks", ["534_[1-3]", "534"])
def test_the_queue_is_believed_that_what_never_began_was_cancelled(sweep: Job, look: Any, tasks: str) -> None:
    look(sweep, [entry(sweep, "", "CANCELLED", scheduler_id=tasks)], [run(sweep, "0")])
    assert (sweep.state, sweep.task_states) == (State.CANCELLED, "sccc")


@pytest.mark.parametrize("before", ["wsss", "rsss"])
def test_a_requeued_task_that_is_cancelled_before_it_begins_again_is_over(
    sweep: Job, look: Any, before: str
) -> None:
    Job.objects.filter(pk=sweep.pk).update(state=State.RUNNING, task_states=before)
    look(sweep, [entry(sweep, "0")], [run(sweep, "0", "REQUEUED")])
    look(sweep, [entry(sweep, "0", "CANCELLED")], [run(sweep, "0", "REQUEUED")])
    assert (sweep.state, sweep.task_states) == (State.CANCELLED, "csss")


def test_the_queue_is_not_believed_that_what_ran_has_ended(sweep: Job, look: Any) -> None:
    look(sweep, [entry(sweep, "[0-3]", "RUNNING")])
    look(sweep, [entry(sweep, str(task), "CANCELLED", nodes="n1") for task in range(4)])
    assert (sweep.state, sweep.task_states) == (State.RUNNING, "rrrr")


def test_what_waited_and_is_nowhere_for_long_never_began(sweep: Job, look: Any) -> None:
    look(sweep, [entry(sweep, "[1-3]")], [run(sweep, "0")])
    look(sweep)
    assert sweep.state == State.RUNNING
    Job.objects.filter(pk=sweep.pk).update(confirmed_at=timezone.now() - 2 * GONE)
    look(sweep)
    assert (sweep.state, sweep.task_states) == (State.CANCELLED, "sccc")


# ── What is held ─────────────────────────────────────────────────────────────


def test_the_hold_shrinks_as_tasks_end_and_nobody_is_told_of_each(sweep: Job, look: Any) -> None:
    look(
        sweep,
        [entry(sweep, "0", "RUNNING"), *(entry(sweep, str(n)) for n in (1, 2, 3))],
        [running(sweep, "0")],
    )
    assert held(sweep) == 4 * ONE
    look(sweep, [entry(sweep, str(n)) for n in (1, 2, 3)], [run(sweep, "0")])
    assert held(sweep) == 3 * ONE
    assert not AuditEvent.objects.filter(action="hold re-priced").exists()
    assert cost.of_job(sweep, timezone.now()).worst == 4 * ONE
    assert balance_checks.found() == []


def test_what_ended_is_held_until_its_record_has_come(sweep: Job, look: Any) -> None:
    look(
        sweep, [entry(sweep, str(n), "RUNNING") for n in range(4)], [running(sweep, str(n)) for n in range(4)]
    )
    look(sweep, [entry(sweep, "3", "RUNNING")], [run(sweep, "0"), running(sweep, "3")])
    assert held(sweep) == 3 * ONE


def test_several_tasks_on_one_line_are_held_each(sweep: Job, look: Any) -> None:
    look(sweep, [entry(sweep, "[1-3]")], [run(sweep, "0")])
    assert held(sweep) == 3 * ONE


def test_a_missing_hold_is_missed_for_all_tasks(sweep: Job) -> None:
    Hold.objects.all().delete()
    with TestCase.captureOnCommitCallbacks():
        (difference,) = balance_checks.holds()
    assert difference.expected == 4 * ONE
