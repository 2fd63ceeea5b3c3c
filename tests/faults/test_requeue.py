"""A node breaks under a job, which is requeued: both runs count once, and the second one says how it ended."""

from __future__ import annotations

import pytest

from accounting.models import LedgerEntry, UsageRecord
from jobs.models import Job
from jobs.states import State
from tests.cluster.one_machine import until
from tests.cluster.world import World
from tests.faults.endings import exactly_one, marked

pytestmark = [pytest.mark.cluster, pytest.mark.django_db(transaction=True)]

SECOND_RUN_ENDS = "#!/bin/bash\nif [ -e began ]; then sleep 2; exit 0; fi\ntouch began\nsleep 300\n"


def node_breaks(world: World, job: Job) -> None:
    """The node that it runs on, which is well again at once; the job, which has run for seconds, waits."""
    until(lambda: marked(world, job, "began") and ran_for(world, job) not in {"0:00", "0:01"})
    node = world.slurm.said("squeue", "-h", "-j", job.scheduler_id, "-o", "%B")
    world.slurm.said("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
    until(lambda: world.in_queue(job.scheduler_id)[0] == "PENDING")
    world.slurm.exec(["scontrol", "update", f"nodename={node}", "state=resume"])


def ran_for(world: World, job: Job) -> str:
    return world.slurm.said("squeue", "-h", "-j", job.scheduler_id, "-o", "%M")


def running(job: Job) -> bool:
    return job.state == State.RUNNING


def booked(world: World) -> bool:
    return "NODE_FAIL" in world.slurm.said(
        *("sacct", "-a", "-X", "-D", "-n", "-P", "-S", "now-1day", f"--accounts={world.project.account}"),
        *("-o", "State"),
    )


def both_runs_are_charged(world: World) -> bool:
    records = UsageRecord.objects.filter(project=world.project).order_by("start")
    assert [record.state for record in records] == ["NODE_FAIL", "COMPLETED"]
    return LedgerEntry.objects.filter(kind="charge", usage_record__in=records).count() == 2


def test_a_requeue_on_node_failure(world: World) -> None:
    job = world.submit(SECOND_RUN_ENDS, gpus=2)
    world.send()
    world.poll_until(job, running)
    node_breaks(world, job)
    world.poll_until(job, lambda job: job.state == State.QUEUED)
    world.slurm.run_again(job.scheduler_id)

    exactly_one(world, job)
    assert both_runs_are_charged(world)


def test_the_first_runs_record_comes_alone(world: World) -> None:
    """slurmdbd goes away after the first run: when it is back, that run is all that it shows for a moment."""
    job = world.submit(SECOND_RUN_ENDS, gpus=2)
    world.send()
    world.poll_until(job, running)
    node_breaks(world, job)
    until(lambda: booked(world))
    world.slurm.stop("slurmdbd")
    try:
        world.slurm.run_again(job.scheduler_id)
        until(lambda: world.in_queue(job.scheduler_id)[0] == "COMPLETED")
    finally:
        world.slurm.start("slurmdbd")

    exactly_one(world, job)
    assert both_runs_are_charged(world)
