"""Hours of work at an even pace leave no trace: memory, file handles, logins and database connections don't grow.

Members submit five jobs each second; the workers and the clock run as in production. After a while to warm up, what the
programs hold in the last third of the time is compared with what they held in the third before.
FIREFLY_ENDURANCE_MINUTES (1; `./dev test --long`: 60) is how long.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis
from django.conf import settings
from django.db import connection

from jobs import actions
from jobs.models import Job, Upload
from jobs.states import State
from portal.models import User
from tests.cluster import footprint
from tests.cluster.one_machine import SlurmCluster, until
from tests.cluster.world import World, make_world
from tests.faults.endings import nothing_stuck_nothing_twice
from tests.faults.programs import Process, beat, ready_worker

pytestmark = [pytest.mark.cluster, pytest.mark.django_db(transaction=True)]

MINUTES = float(os.environ.get("FIREFLY_ENDURANCE_MINUTES", "1"))
PER_SECOND = 5
MEMBERS = 6
LAST_ONES = 60  # seconds in which the last jobs have to end: the portal keeps pace, nothing piles up
SAMPLES = 90  # over the whole time
# Of what was held before. A leak of 1 KiB per job makes 6 MiB in the 20 minutes that are a third of an hour; in the 20
# seconds of a short run only a rough one shows.
MORE_MEMORY = 0.02 if MINUTES >= 30 else 0.1
SPARE = 2  # handles and connections that may be in use at one look and not at another
SCRIPT = b"#!/bin/bash\ntrue\n"


@pytest.fixture
def world(slurm_cluster: SlurmCluster, on_cluster: None) -> World:
    redis.Redis.from_url(settings.REDIS_URL).flushdb()
    return make_world(slurm_cluster, gpu_hours=1_000_000)


def members(world: World) -> list[tuple[User, Upload]]:
    """People of the lab who can run jobs, each with a script to run."""
    people = [world.another_member(f"Member {number}") for number in range(MEMBERS)]
    return [(person, world.upload("run.sh", SCRIPT, by=person)) for person in people]


def look(programs: dict[str, Process], ssh_port: int) -> dict[str, int]:
    """How much of each thing is held now."""
    held = {"logins": footprint.connections_to(ssh_port)}
    for name, process in programs.items():
        assert process.poll() is None, f"{name} ended by itself"
        of_program = footprint.of_group(process.pid)
        held |= {f"{name}: memory": of_program.memory, f"{name}: handles": of_program.handles}
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
            held["database connections"] = cursor.fetchone()[0]
    return held


def grown(samples: Sequence[dict[str, int]]) -> Iterator[str]:
    """What the last third held more of than the one before."""
    third = len(samples) // 3
    for name in samples[0]:
        before = statistics.median(one[name] for one in samples[third : 2 * third])
        after = statistics.median(one[name] for one in samples[2 * third :])
        print(f"{name:<28} {before:>14,.0f} → {after:>14,.0f}")
        most = before * (1 + MORE_MEMORY) if name.endswith("memory") else before + SPARE
        if after > most:
            yield f"{name}: {before:,.0f} → {after:,.0f}"


def test_nothing_grows(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    people = members(world)
    port: int = world.slurm.config["clusters"]["firefly"]["login_nodes"][0]["port"]
    samples: list[dict[str, int]] = []
    submitted = 0
    with ExitStack() as running:
        programs = {
            "quick worker": running.enter_context(ready_worker(tmp_path / "quick.log", "-Q", "celery")),
            "worker of files": running.enter_context(ready_worker(tmp_path / "files.log", "-Q", "files")),
            "clock": running.enter_context(beat(tmp_path / "beat.log")),
        }
        began, seconds = time.monotonic(), MINUTES * 60
        while (so_far := time.monotonic() - began) < seconds:
            if submitted < so_far * PER_SECOND:
                person, script = people[submitted % len(people)]
                submit(world, person, script)
                submitted += 1
            elif len(samples) < so_far * SAMPLES / seconds:
                samples.append(look(programs, port))
            else:
                time.sleep(0.01)  # the pace is the load
        until(lambda: not Job.objects.unfinished().exists(), LAST_ONES)
    assert submitted >= 0.98 * PER_SECOND * seconds, "submitting itself was too slow"
    assert Job.objects.filter(state=State.SUCCEEDED).count() == submitted
    nothing_stuck_nothing_twice(world)
    with capsys.disabled():
        print()
        more = list(grown(samples))
    assert more == []


def submit(world: World, person: User, script: Upload) -> None:
    actions.create_and_submit(
        by=person,
        project=world.project,
        partition=world.partition,
        name="one of many",
        gpus=1,
        time_limit_minutes=3,
        script=script,
        inputs=[],
    )
