"""Two clocks ring twice as often: each cluster is still asked once in a period."""

from __future__ import annotations

import itertools
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from jobs import tasks
from jobs.models import ClusterHealth
from tests.cluster.one_machine import until
from tests.cluster.world import World
from tests.faults.endings import exactly_one
from tests.faults.programs import beat, ready_worker

pytestmark = [pytest.mark.cluster, pytest.mark.django_db(transaction=True)]

WATCHED = 10  # seconds
SHORTEST = timedelta(seconds=1.8)  # between two polls where nobody has a reason to hurry; a beat is not exact


def test_two_beats_and_many_rings_ask_once_in_a_period(world: World, tmp_path: Path) -> None:
    job = world.submit("#!/bin/bash\nsleep 15\n")
    world.send()
    with (
        ready_worker(tmp_path / "worker.log", "--concurrency=3"),
        beat(tmp_path / "one.log"),
        beat(tmp_path / "two.log"),
    ):
        until(lambda: asked_at())
        times = watched(world)
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert len(gaps) >= 2
    assert min(gaps) >= SHORTEST
    exactly_one(world, job)


def asked_at() -> datetime | None:
    """When the poller that was elected last began to ask: it is noted in the very UPDATE that elects it."""
    return ClusterHealth.objects.values_list("asked_at", flat=True).first()


def watched(world: World) -> list[datetime]:
    """The moments at which the cluster was asked, while it is rung many times beside the beats."""
    seen: list[datetime] = []
    end = time.monotonic() + WATCHED

    def over() -> bool:
        tasks.sync_cluster.delay(world.cluster.pk)
        now = asked_at()
        if now and now not in seen:
            seen.append(now)
        return time.monotonic() > end

    until(over, WATCHED + 5)
    return seen
