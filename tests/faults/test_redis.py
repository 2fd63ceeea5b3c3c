"""Redis is away, says nothing, or is emptied: it only ever carried doorbells."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from django.conf import settings

from accounting import ledger
from jobs.models import Job
from jobs.states import State
from tests.cluster.one_machine import until
from tests.cluster.world import World
from tests.faults.endings import exactly_one, state_of
from tests.faults.programs import beat, ready_worker
from tests.faults.proxy import Proxy
from tests.faults.roads import speak_to_redis_over, through

pytestmark = [pytest.mark.cluster, pytest.mark.django_db(transaction=True)]

MANY = 100
A_PERSONS_PATIENCE = 15  # seconds for a submit


def unsent() -> bool:
    return Job.objects.unsent().exists()


@pytest.fixture
def redis_road() -> Iterator[Proxy]:
    with speak_to_redis_over() as road:
        yield road


def test_redis_is_away_while_people_submit(world: World, redis_road: Proxy, tmp_path: Path) -> None:
    """It refuses first, then it says nothing. Everything is accepted, and sent when it is back, without anybody's doing."""
    url = through(redis_road)
    with (
        ready_worker(tmp_path / "worker.log", REDIS_URL=url),
        beat(tmp_path / "beat.log", REDIS_URL=url),
    ):
        redis_road.refuse()
        jobs = [_submitted_in_time(world)]
        redis_road.mend()
        redis_road.swallow()
        jobs.append(_submitted_in_time(world))
        assert {state_of(job) for job in jobs} == {State.NEW}
        assert ledger.balance(world.allocation).held == 2 * 5 * 60

        redis_road.refuse()  # what hangs in it is broken off
        redis_road.mend()
        until(lambda: not unsent(), 90)
    exactly_one(world, *jobs)


def _submitted_in_time(world: World) -> Job:
    began = time.monotonic()
    job = world.submit("#!/bin/bash\nsleep 1\n")
    assert time.monotonic() - began < A_PERSONS_PATIENCE
    return job


def test_redis_is_emptied_while_a_hundred_jobs_wait(world: World, tmp_path: Path) -> None:
    """Before anything is sent, and again in the middle of it."""
    jobs = [world.submit("#!/bin/bash\ntrue\n", minutes=1) for _ in range(MANY)]
    doors = redis.Redis.from_url(settings.REDIS_URL)
    assert doors.llen("files")
    doors.flushall()
    with ready_worker(tmp_path / "worker.log", "--concurrency=2"), beat(tmp_path / "beat.log"):
        until(lambda: Job.objects.exclude(state=State.NEW).count() > MANY // 4, 60)
        doors.flushall()
        until(lambda: not unsent(), 120)
        until(lambda: not Job.objects.unfinished().exists(), 60)
    exactly_one(world, *jobs)
