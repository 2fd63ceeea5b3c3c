"""kill -9 of a real Celery worker, before, during and after sbatch: exactly one job, every time.

The moments are not hit by luck: what the worker waits for (the login node, the controller, the database) is held first.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from django.db import connection, transaction

from jobs import tasks
from jobs.models import Job
from jobs.states import State
from tests.cluster.one_machine import until
from tests.cluster.world import World
from tests.faults.endings import exactly_one, in_slurm, marked, recover, state_of
from tests.faults.programs import frozen, ready_worker, worker
from tests.faults.proxy import Proxy
from tests.locks import end_who_waits, somebody_waits
from tests.running import kill

pytestmark = [pytest.mark.cluster, pytest.mark.django_db(transaction=True)]

SHORT = "#!/bin/bash\nsleep 1\n"


def test_killed_before_it_reaches_the_login_node(world: World, road: Proxy, tmp_path: Path) -> None:
    job = world.submit(SHORT)
    road.swallow()
    with worker(tmp_path / "worker.log") as process:
        tasks.dispatch.delay(world.cluster.pk)
        until(lambda: state_of(job) == State.SUBMITTING or road.accepted)
        kill(process)
    road.mend()
    assert in_slurm(world) == {}

    recover(world, job)

    exactly_one(world, job)


def test_killed_while_the_controller_does_not_answer(world: World, tmp_path: Path) -> None:
    """The worker and, with it, the sbatch that waits for a frozen controller."""
    job = world.submit(SHORT)
    with frozen(world.slurm, "slurmctld"), worker(tmp_path / "worker.log") as process:
        tasks.dispatch.delay(world.cluster.pk)
        until(lambda: marked(world, job, ".submitting"))
        kill(process)
        world.slurm.said("pkill", "-KILL", "-x", "sbatch")

    recover(world, job)

    exactly_one(world, job)


def test_killed_after_sbatch_before_the_answer_is_read(world: World, tmp_path: Path) -> None:
    job = world.submit(SHORT)
    with worker(tmp_path / "worker.log") as process:
        with frozen(world.slurm, "slurmctld"):
            tasks.dispatch.delay(world.cluster.pk)
            until(lambda: marked(world, job, ".submitting"))
            os.killpg(process.pid, signal.SIGSTOP)
        until(lambda: marked(world, job, ".submitted"))
        kill(process)
    assert state_of(job) == State.SUBMITTING
    until(lambda: len(in_slurm(world)) == 1)

    recover(world, job)

    exactly_one(world, job)


def test_killed_after_the_answer_before_it_stands_in_the_database(world: World, tmp_path: Path) -> None:
    job = world.submit(SHORT)
    with worker(tmp_path / "worker.log") as process, frozen(world.slurm, "slurmctld"):
        tasks.dispatch.delay(world.cluster.pk)
        until(lambda: marked(world, job, ".submitting"))
        with transaction.atomic():  # the worker can't write the job's row until this ends
            Job.objects.select_for_update().get(pk=job.pk)
            world.slurm.said("pkill", "-CONT", "-x", "slurmctld")
            until(lambda: marked(world, job, ".submitted"))
            until(lambda: answer_is_read(world))
            kill(process)
            end_who_waits()
    assert state_of(job) == State.SUBMITTING

    recover(world, job)

    exactly_one(world, job)


def answer_is_read(world: World) -> bool:
    """The worker waits for the row. SQLite doesn't tell; there, that the gateway has ended."""
    if connection.vendor == "postgresql":
        return somebody_waits()
    return world.slurm.exec(["pgrep", "--full", "gateway --role member"]).returncode != 0


def test_killed_during_an_upload(world: World, road: Proxy, tmp_path: Path) -> None:
    job = world.submit(SHORT, gpus=1, minutes=5, **{"data.bin": os.urandom(8 << 20)})
    with worker(tmp_path / "worker.log") as process:
        road.delay = 0.02
        tasks.dispatch.delay(world.cluster.pk)
        until(lambda: road.up > 2 << 20)
        kill(process)
    road.mend()

    recover(world, job)

    exactly_one(world, job)


def test_the_same_ring_many_times_in_parallel_sends_one_job(world: World, tmp_path: Path) -> None:
    job = world.submit(SHORT)
    with ready_worker(tmp_path / "one.log"), ready_worker(tmp_path / "two.log"):
        for _ in range(6):
            tasks.dispatch.delay(world.cluster.pk)
        until(lambda: state_of(job) == State.QUEUED)

    exactly_one(world, job)
