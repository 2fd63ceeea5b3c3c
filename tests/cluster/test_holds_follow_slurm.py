"""A hold follows what Slurm really gave a job: all GPUs of an exclusive node, a raised limit, and the whole limit after a requeue."""

from __future__ import annotations

import pytest
from django.utils import timezone

from accounting import ledger
from jobs import balance_checks, sync
from jobs.models import Job
from jobs.states import State
from tests.cluster.one_machine import SlurmCluster, until
from tests.cluster.world import World, make_world

pytestmark = [pytest.mark.cluster, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def world(slurm_cluster: SlurmCluster, on_cluster: None) -> World:
    return make_world(slurm_cluster)


def sent_exclusively(world: World) -> Job:
    """A portal's job of one GPU for five minutes that stands in Slurm with a node of its own."""
    job = world.submit("#!/bin/bash\nsleep 300\n", gpus=1, minutes=5)
    said = world.slurm.said(
        "sbatch", "--parsable", "--chdir=/tmp", "--output=/dev/null", f"--job-name={job.token}",
        f"--account={world.project.account}", "--partition=a100", "--exclusive", "--nodes=1",
        "--gres=gpu:a100:1", "--time=5", "--requeue", "--wrap=sleep 300", user=world.account.username,
    )  # fmt: skip
    Job.objects.filter(pk=job.pk).update(state=State.QUEUED, scheduler_id=said, queued_at=timezone.now())
    job.refresh_from_db()
    return job


def test_a_hold_is_what_the_job_can_really_cost(world: World) -> None:
    job = sent_exclusively(world)
    assert ledger.balance(world.allocation).held == 5 * 60

    def holds(gpu_seconds: int) -> bool:
        sync.poll(world.cluster.pk)
        return ledger.balance(world.allocation).held == gpu_seconds

    tres = until(lambda: world.slurm.said("sacct", "-XDnP", "-j", job.scheduler_id, "-o", "AllocTRES"), 60)
    gpus = int(tres.partition("gres/gpu=")[2].partition(",")[0])
    assert gpus > 1
    until(lambda: holds(gpus * 5 * 60), 60)

    world.slurm.said("scontrol", "update", f"JobId={job.scheduler_id}", "TimeLimit=8")
    until(lambda: holds(gpus * 8 * 60), 60)

    world.slurm.said("scontrol", "requeue", job.scheduler_id)
    world.poll_until(job, lambda one: one.state == State.QUEUED and ledger.balance(world.allocation).used > 0)
    assert ledger.balance(world.allocation).held == gpus * 8 * 60

    world.slurm.said("scancel", job.scheduler_id)
    world.poll_until(job, lambda one: one.is_final)
    balance = ledger.balance(world.allocation)
    assert (balance.held, balance.used) == (0, world.slurm.held(world.project.account))
    assert balance_checks.found() == []
