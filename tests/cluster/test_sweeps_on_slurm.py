"""A sweep on the real Slurm: one array, each task with a number, a log and records of its own; it ends when all have."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from accounting import ledger
from accounting.models import LedgerEntry, UsageRecord
from jobs import actions, balance_checks, cost, dispatch, files, reasons
from jobs.clusters import connect_to
from jobs.models import Job
from jobs.states import State, TaskState
from tests.cluster.one_machine import SlurmCluster, until
from tests.cluster.world import World, make_world

pytestmark = [pytest.mark.cluster, pytest.mark.django_db(transaction=True)]

SCRIPT = """#!/bin/bash
echo "task $FIREFLY_TASK of $FIREFLY_TASKS, as $SLURM_ARRAY_TASK_ID"
echo "$FIREFLY_TASK" > "found-$FIREFLY_TASK.txt"
sleep 2
[ "$FIREFLY_TASK" != 2 ]
"""
TWICE = "#!/bin/bash\necho begun\nsleep 5\n"


@pytest.fixture
def world(slurm_cluster: SlurmCluster, on_cluster: None) -> World:
    return make_world(slurm_cluster)


def final(job: Job) -> bool:
    return job.is_final


def log_of(world: World, job: Job, task: int) -> str:
    actions.want_log(by=world.mei, job=job, stream="stdout", task=task)
    files.read_logs(job.pk)
    return actions.want_log(by=world.mei, job=job, stream="stdout", task=task).text


def test_each_task_is_charged_what_slurm_says_and_the_hold_ends_with_the_last(world: World) -> None:
    job = world.submit_sweep(SCRIPT, gpus=2, minutes=5, tasks=4, at_once=2)
    assert ledger.balance(world.allocation).held == 4 * 2 * 5 * 60
    world.send()

    world.poll_until(job, lambda job: "r" in job.task_states)
    assert job.state == State.RUNNING
    assert job.task_states.count(TaskState.RUNNING) <= 2
    assert ledger.balance(world.allocation).held > 0
    world.poll_until(job, final)

    assert (job.state, job.reason, job.task_states) == (State.FAILED, "TasksFailed", "ssfs")
    assert reasons.of_job(job).sentence == "1 of 4 tasks failed."
    records = UsageRecord.objects.filter(cluster=world.cluster, account=world.project.account)
    assert [record.job_id for record in records.order_by("job_id")] == [
        f"{job.scheduler_id}_{task}" for task in range(4)
    ]
    assert {record.person for record in records} == {world.mei}
    charges = LedgerEntry.objects.filter(usage_record__in=records)
    assert {charge.allocation for charge in charges} == {world.allocation}
    assert charges.count() == 4
    balance = ledger.balance(world.allocation)
    assert (balance.held, balance.used) == (0, world.slurm.held(world.project.account))
    assert balance.used == sum(record.gpu_seconds for record in records) >= 4 * 2 * 2
    assert cost.of_job(job, timezone.now()).charged == balance.used
    assert [task.exit_code for task in cost.of_tasks(job, range(4))] == ["0:0", "0:0", "1:0", "0:0"]
    assert balance_checks.found() == []

    files.list_outputs(job.pk)
    assert {file.path for file in job.files.filter(kind="output")} == {
        name.format(task) for name in ("stdout-{}.log", "stderr-{}.log", "found-{}.txt") for task in range(4)
    }
    assert log_of(world, job, task=3) == "task 3 of 4, as 3\n"


def test_cancelling_ends_all_tasks_those_that_never_began_too(world: World) -> None:
    job = world.submit_sweep("#!/bin/bash\nsleep 300\n", tasks=4, at_once=1)
    world.send()
    world.poll_until(job, lambda job: job.task_states == "rwww")

    actions.cancel(by=world.mei, job=job)
    dispatch.cancel_wanted(world.cluster.pk)
    world.poll_until(job, final)

    assert (job.state, job.task_states) == (State.CANCELLED, "cccc")
    balance = ledger.balance(world.allocation)
    assert (balance.held, balance.used) == (0, world.slurm.held(world.project.account))


def test_one_that_waits_as_a_whole_is_cancelled_as_a_whole(world: World) -> None:
    blocker = world.submit("#!/bin/bash\nsleep 300\n", gpus=32)
    world.send()
    world.poll_until(blocker, lambda job: job.state == State.RUNNING)
    job = world.submit_sweep("#!/bin/bash\ntrue\n", gpus=8, tasks=3)
    world.send()
    world.poll_until(job, lambda job: job.reason in {"Resources", "Priority"})
    assert (job.state, job.task_states) == (State.QUEUED, "www")

    for each in (job, blocker):
        actions.cancel(by=world.mei, job=each)
    dispatch.cancel_wanted(world.cluster.pk)
    world.poll_until(job, final)
    world.poll_until(blocker, final)

    assert (job.state, job.task_states) == (State.CANCELLED, "ccc")
    assert ledger.balance(world.allocation).held == 0


def test_a_requeued_task_runs_again_and_both_runs_are_charged(world: World) -> None:
    job = world.submit_sweep(TWICE, tasks=2)
    world.send()
    world.poll_until(job, lambda job: job.task_states == "rr")
    until(lambda: log_of(world, job, task=0) == "begun\n")

    first = f"{job.scheduler_id}_0"
    world.slurm.said("scontrol", "requeue", first)
    world.poll_until(job, lambda job: job.task_states[0] == "w")
    assert job.state == State.RUNNING
    world.slurm.run_again(first)
    world.poll_until(job, final)

    assert (job.state, job.reason, job.task_states) == (State.SUCCEEDED, "COMPLETED", "ss")
    records = UsageRecord.objects.filter(cluster=world.cluster, job_id=first)
    assert sorted(record.state for record in records) == ["COMPLETED", "REQUEUED"]
    balance = ledger.balance(world.allocation)
    assert (balance.held, balance.used) == (0, world.slurm.held(world.project.account))
    assert log_of(world, job, task=0) == "begun\nbegun\n"


def test_a_lost_answer_is_found_under_the_arrays_own_id(world: World) -> None:
    job = world.submit_sweep("#!/bin/bash\nsleep 2\n", tasks=3, at_once=1)
    world.send()
    job.refresh_from_db()

    def found() -> str | None:
        with connect_to(world.cluster.name) as door:
            since = job.created_at - timedelta(minutes=1)
            return door.find(world.account.username, [job.token], since).get(job.token)

    world.poll_until(job, lambda job: "r" in job.task_states)
    assert found() == job.scheduler_id
    world.poll_until(job, final)
    assert found() == job.scheduler_id
