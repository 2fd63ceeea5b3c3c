"""The login node refuses, says nothing, breaks off, is slow, or is another machine: nothing fails, nothing is doubled."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pytest_django.fixtures import Settings

from jobs import sync, tasks
from jobs.health import may_try
from jobs.models import ClusterHealth
from jobs.signs import Link, Pulse
from jobs.states import State
from portal.models import OutgoingMail, User
from tests.cluster.one_machine import SlurmCluster, until
from tests.cluster.world import World
from tests.faults.endings import exactly_one, marked, recover, state_of, time_passes
from tests.faults.programs import aside, frozen, ready_worker
from tests.faults.proxy import Proxy
from tests.jobs.login_node import make_key, public

pytestmark = [pytest.mark.cluster, pytest.mark.django_db(transaction=True)]

SHORT = "#!/bin/bash\nsleep 1\n"


def health() -> ClusterHealth:
    return ClusterHealth.objects.get()


def test_it_refuses(world: World, road: Proxy) -> None:
    job = world.submit(SHORT)
    road.refuse()
    world.send()
    sync.poll(world.cluster.pk)

    job.refresh_from_db()
    assert (job.state, job.reason) == (State.NEW, "ClusterUnreachable")
    assert (health().broken, health().failures) == (Link.SSH, 2)
    assert not may_try(world.cluster.pk)
    road.mend()
    world.send()
    assert road.accepted == 0, "the breaker is open: nobody tries but the poll"

    time_passes(job)
    sync.poll(world.cluster.pk)
    assert may_try(world.cluster.pk)
    recover(world, job)
    exactly_one(world, job)


def test_it_accepts_and_says_nothing(world: World, road: Proxy, tmp_path: Path) -> None:
    """The one worker there is comes back from it, and does other work."""
    job = world.submit(SHORT)
    road.swallow()
    with ready_worker(tmp_path / "worker.log"):
        tasks.dispatch.delay(world.cluster.pk)
        until(lambda: road.accepted)
        tasks.note_worker.delay("quick")
        until(lambda: Pulse.objects.filter(part="quick").exists(), 45)
    job.refresh_from_db()
    assert (job.state, job.reason) == (State.NEW, "ClusterUnreachable")
    assert health().broken == Link.SSH

    road.mend()
    recover(world, job)
    exactly_one(world, job)


def test_it_breaks_off_while_sbatch_is_under_way(world: World, road: Proxy) -> None:
    job = world.submit(SHORT)
    with frozen(world.slurm, "slurmctld"), aside(world.send):
        until(lambda: marked(world, job, ".submitting"))
        road.cut()
    assert state_of(job) == State.SUBMITTING, "nobody knows"

    recover(world, job)
    exactly_one(world, job)


def test_it_breaks_off_while_the_cluster_is_asked(world: World, road: Proxy) -> None:
    job = world.submit("#!/bin/bash\nsleep 5\n")
    world.send()
    world.poll_until(job, lambda job: job.state == State.RUNNING)
    with frozen(world.slurm, "slurmctld"), aside(lambda: sync.poll(world.cluster.pk)):
        until(lambda: world.slurm.exec(["pgrep", "-x", "squeue"]).returncode == 0)
        road.cut()

    assert state_of(job) == State.RUNNING
    assert health().failures == 1
    exactly_one(world, job)


def test_it_is_slow(world: World, road: Proxy) -> None:
    jobs = [world.submit(SHORT) for _ in range(3)]
    road.delay = 0.05
    world.send()
    assert {state_of(job) for job in jobs} == {State.QUEUED}
    exactly_one(world, *jobs)


# ── Another machine ──────────────────────────────────────────────────────────


@contextmanager
def another_host_key(slurm: SlurmCluster, folder: Path) -> Iterator[str]:
    """sshd has another host key, as after somebody put another machine in its place."""
    key = slurm.state / "cluster" / "ssh" / "host_key"
    kept = shutil.copy2(key, folder / "kept")
    made = make_key(folder / "other")
    slurm.stop("sshd")
    key.write_bytes(made.read_bytes())
    slurm.start("sshd")
    try:
        yield public(made)
    finally:
        slurm.stop("sshd")
        key.write_bytes(Path(kept).read_bytes())
        slurm.start("sshd")


def test_its_host_key_changed(
    world: World, sam: User, settings: Settings, slurm_cluster: SlurmCluster, tmp_path: Path
) -> None:
    """No login, an alarm, and no other try until another key is pinned. Then the job goes, once."""
    job = world.submit(SHORT)
    with another_host_key(slurm_cluster, tmp_path) as other:
        before = _log_ins(slurm_cluster)
        for _ in range(2):
            time_passes(job)
            world.send()
            sync.poll(world.cluster.pk)
        assert _log_ins(slurm_cluster) == before
        job.refresh_from_db()
        assert (job.state, job.reason) == (State.NEW, "ClusterUnreachable")
        assert OutgoingMail.objects.get(template="host_key_changed").recipient == sam

        _pin(settings, other, tmp_path)
        recover(world, job)
        exactly_one(world, job)


def _log_ins(slurm: SlurmCluster) -> int:
    log = slurm.state / "cluster" / "log" / "sshd.log"
    return log.read_text(errors="replace").count("Accepted publickey")


def _pin(settings: Settings, key: str, folder: Path) -> None:
    text = Path(settings.CLUSTERS_FILE).read_text()
    lines = [f'host_key = "{key}"' if line.startswith("host_key") else line for line in text.splitlines()]
    settings.CLUSTERS_FILE = folder / "clusters.toml"
    settings.CLUSTERS_FILE.write_text("\n".join(lines) + "\n")
