"""An upload that breaks off goes on where it broke; a full disk is a refusal in words, and nothing is sent."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from jobs import upkeep
from jobs.models import MAX_ATTEMPTS, Job
from jobs.states import State
from portal.models import OutgoingMail, User
from tests.cluster.world import World
from tests.faults.endings import exactly_one, in_slurm, recover, state_of, time_passes
from tests.faults.proxy import Proxy

pytestmark = [pytest.mark.cluster, pytest.mark.django_db(transaction=True)]

SHORT = "#!/bin/bash\nsleep 1\n"
SIZE = 12 << 20
ROOM = 4 << 20


def on_cluster(world: World, job: Job, path: str) -> str:
    folder = world.slurm.root / "home" / world.account.username / "firefly" / job.token
    return world.slurm.said("sha256sum", str(folder / path)).split()[0]


@pytest.mark.parametrize("for_long", [False, True], ids=["in the same call", "at another time"])
def test_an_upload_that_breaks_at_60_percent_goes_on_from_there(
    world: World, road: Proxy, for_long: bool
) -> None:
    content = os.urandom(SIZE)
    job = world.submit(SHORT, gpus=1, minutes=5, **{"data.bin": content})
    road.cut_after, road.refuses_then = SIZE * 6 // 10, for_long
    world.send()
    assert road.cut_after is None, "it broke"
    if for_long:
        assert state_of(job) == State.NEW
        road.mend()
        recover(world, job)

    assert road.up < SIZE * 1.3, "what had arrived was not sent again"
    assert on_cluster(world, job, "data.bin") == hashlib.sha256(content).hexdigest()
    exactly_one(world, job)


@contextmanager
def full_disk(world: World) -> Iterator[None]:
    """The member's home has room for a third of the file."""
    home = str(world.slurm.root / "home" / world.account.username)
    owner = world.slurm.said("stat", "--format=uid=%u,gid=%g", home)
    world.slurm.said("mount", "-t", "tmpfs", "-o", f"size={ROOM},mode=700,{owner}", "full", home)
    try:
        yield
    finally:
        world.slurm.said("umount", "--lazy", home)


@pytest.mark.parametrize("size", [SIZE, 17 << 20], ids=["found out while writing", "asked for before"])
def test_the_disk_is_full(world: World, sam: User, size: int) -> None:
    job = world.submit(SHORT, gpus=1, minutes=5, **{"data.bin": os.urandom(size)})
    with full_disk(world):
        world.send()
        job.refresh_from_db()
        assert (job.state, job.attempts) == (State.NEW, 1)
        assert job.reason in {"FileRefused", "DiskFull"}
        assert "No space left on device" in job.message or "17.0" in job.message
        for _ in range(MAX_ATTEMPTS):
            time_passes(job)
            world.send()
    assert in_slurm(world) == {}
    assert Job.objects.set_aside().get() == job
    assert OutgoingMail.objects.get(template="job_set_aside").recipient == sam

    upkeep.send_again(by=sam, job=job)  # when the disk has room again
    recover(world, job)
    exactly_one(world, job)
