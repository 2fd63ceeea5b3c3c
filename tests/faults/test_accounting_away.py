"""slurmdbd is away, or sacct breaks off: usage comes late, whole, and never twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from accounting import ledger
from accounting.models import Collection, UsageRecord
from jobs import collecting, sync
from jobs.models import ClusterHealth, Job
from jobs.signs import Link
from jobs.states import FINAL, State
from tests.cluster.one_machine import SlurmCluster, until
from tests.cluster.world import World
from tests.faults.endings import exactly_one, state_of

pytestmark = [pytest.mark.cluster, pytest.mark.django_db(transaction=True)]

SHORT = "#!/bin/bash\nsleep 1\n"


def test_slurmdbd_is_away_while_jobs_run_and_end(world: World) -> None:
    before = world.submit("#!/bin/bash\nsleep 4\n", gpus=2)
    world.send()
    world.poll_until(before, lambda job: job.state == State.RUNNING)
    world.slurm.stop("slurmdbd")
    try:
        meanwhile = [world.submit(SHORT, gpus=3) for _ in range(2)]
        world.send()
        until(lambda: {in_queue(world, job) for job in (before, *meanwhile)} == {"COMPLETED"})
        sync.poll(world.cluster.pk)
        assert not {state_of(job) for job in (before, *meanwhile)} & FINAL, "only a record ends a job"
        assert ledger.balance(world.allocation).used == 0
        assert ClusterHealth.objects.get().broken == Link.SLURMDBD
        watermark = Collection.objects.get().complete_until
    finally:
        world.slurm.start("slurmdbd")

    exactly_one(world, before, *meanwhile)
    assert Collection.objects.get().complete_until > watermark
    until(lambda: collecting.collect(world.cluster.pk))
    exactly_one(world, before, *meanwhile)


def in_queue(world: World, job: Job) -> str:
    """Its state in the scheduler's queue."""
    return world.in_queue(Job.objects.get(pk=job.pk).scheduler_id)[0]


@contextmanager
def bad_sacct(slurm: SlurmCluster, script: str) -> Iterator[None]:
    """The gateway meets this program where sacct is; $SACCT is the real one."""
    cluster = slurm.state / "cluster"
    settings, folder = cluster / "libexec" / "gateway.json", cluster / "libexec" / "tricks"
    before = settings.read_text()
    folder.mkdir(exist_ok=True)
    program = folder / "sacct"
    program.write_text(
        f"#!/bin/bash\nSACCT=$(PATH=/usr/local/bin:/usr/bin:/bin command -v sacct)\n{script}\n"
    )
    folder.chmod(0o755)
    program.chmod(0o755)
    said = json.loads(before)
    said["path"] = f"{slurm.root}/libexec/tricks:{said['path']}"
    settings.write_text(json.dumps(said))
    try:
        yield
    finally:
        settings.write_text(before)


BREAKS = {
    "cut in the middle of a line": '"$SACCT" "$@" | head -c -9; exit 0',
    "exit 1": '"$SACCT" "$@"; exit 1',
    "an error at the end": '"$SACCT" "$@"; echo "sacct: error: slurm_persist_conn_open: No connection" >&2',
}


def test_sacct_breaks_off(world: World) -> None:
    sync.poll(world.cluster.pk)
    job = world.submit(SHORT, gpus=2)
    world.send()
    until(lambda: in_queue(world, job) == "COMPLETED")
    until(lambda: world.slurm.held(world.project.account))
    watermark = Collection.objects.get().complete_until
    for script in BREAKS.values():
        with bad_sacct(world.slurm, script):
            sync.poll(world.cluster.pk)
            assert state_of(job) not in FINAL
            assert not UsageRecord.objects.filter(project=world.project).exists()
            assert Collection.objects.get().complete_until == watermark
    with bad_sacct(
        world.slurm, "exit 0"
    ):  # nothing, and well: no record, so no end; what comes late is found
        sync.poll(world.cluster.pk)
        assert state_of(job) not in FINAL

    exactly_one(world, job)
