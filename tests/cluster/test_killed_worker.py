"""kill -9 of a real Celery worker, before, during and after sbatch: exactly one job, every time.

The moments are not hit by luck: what the worker waits for (the login node, the controller) is frozen first.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import redis
from django.conf import settings as live_settings
from django.utils import timezone

from accounting import ledger
from jobs import dispatch, tasks
from jobs.dispatch import GRACE, STALE
from jobs.models import Job
from jobs.states import State
from tests.cluster.one_machine import SlurmCluster, until
from tests.cluster.world import World, make_world
from tests.running import environment, kill, python_module, running

pytestmark = [pytest.mark.cluster, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def world(slurm_cluster: SlurmCluster, on_cluster: None) -> World:
    redis.Redis.from_url(live_settings.REDIS_URL).flushdb()
    return make_world(slurm_cluster)


def worker(log: Path) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """A Celery worker on this test's database, in a process group of its own."""
    words = ("celery", "-A", "portal", "worker", "--concurrency=1", "--loglevel=INFO")
    return running(python_module(*words), environment(), log)


@contextmanager
def frozen(slurm: SlurmCluster, program: str) -> Iterator[None]:
    slurm.said("pkill", "-STOP", "-x", program)
    try:
        yield
    finally:
        slurm.said("pkill", "-CONT", "-x", program)


def state_of(job: Job) -> str:
    return Job.objects.get(pk=job.pk).state


def marked(world: World, job: Job, mark: str) -> bool:
    folder = world.slurm.root / "home" / world.account.username / "firefly" / job.token
    return world.slurm.exec(["test", "-e", str(folder / mark)]).returncode == 0


def time_passes(job: Job) -> None:
    """The claim grows stale and the grace time passes."""
    for field, span in (("claimed_at", STALE), ("looked_up_at", GRACE)):
        past = timezone.now() - span - timedelta(seconds=1)
        Job.objects.filter(pk=job.pk, **{f"{field}__isnull": False}).update(**{field: past})


def recover(world: World, job: Job) -> None:
    """What the sweep rings, again and again, until the job is where the scheduler has it."""

    def look() -> bool:
        time_passes(job)
        dispatch.resolve_unclear(world.cluster.pk)
        Job.objects.filter(pk=job.pk).update(not_before=None)
        dispatch.send_waiting(world.cluster.pk)
        return state_of(job) not in {State.NEW, State.SUBMITTING}

    until(look, 60)


def exactly_one(world: World, job: Job) -> None:
    world.poll_until(job, lambda job: job.is_final)
    assert job.state == State.SUCCEEDED
    assert world.in_slurm(job) == [job.scheduler_id]
    used = ledger.balance(world.allocation)
    assert used.held == 0
    assert used.used == world.slurm.held(world.project.account)


def test_killed_before_it_reaches_the_login_node(world: World, tmp_path: Path) -> None:
    job = world.submit("#!/bin/bash\nsleep 1\n")
    with frozen(world.slurm, "sshd"), worker(tmp_path / "worker.log") as process:
        tasks.dispatch.delay(world.cluster.pk)
        until(lambda: state_of(job) == State.SUBMITTING)
        kill(process)
    assert world.in_slurm(job) == []

    recover(world, job)

    exactly_one(world, job)


def test_killed_while_the_controller_does_not_answer(world: World, tmp_path: Path) -> None:
    job = world.submit("#!/bin/bash\nsleep 1\n")
    with frozen(world.slurm, "slurmctld"), worker(tmp_path / "worker.log") as process:
        tasks.dispatch.delay(world.cluster.pk)
        until(lambda: marked(world, job, ".submitting"))
        kill(process)

    recover(world, job)

    exactly_one(world, job)


def test_killed_after_sbatch_before_the_answer_is_read(world: World, tmp_path: Path) -> None:
    job = world.submit("#!/bin/bash\nsleep 1\n")
    with worker(tmp_path / "worker.log") as process:
        with frozen(world.slurm, "slurmctld"):
            tasks.dispatch.delay(world.cluster.pk)
            until(lambda: marked(world, job, ".submitting"))
            os.killpg(process.pid, signal.SIGSTOP)
        until(lambda: marked(world, job, ".submitted"))
        kill(process)
    assert state_of(job) == State.SUBMITTING
    until(lambda: len(world.in_slurm(job)) == 1)

    recover(world, job)

    exactly_one(world, job)


def test_the_same_ring_twice_in_parallel_sends_one_job(world: World, tmp_path: Path) -> None:
    job = world.submit("#!/bin/bash\nsleep 1\n")
    with worker(tmp_path / "one.log"), worker(tmp_path / "two.log"):
        for _ in range(4):
            tasks.dispatch.delay(world.cluster.pk)
        until(lambda: state_of(job) == State.QUEUED)

    exactly_one(world, job)
