"""Our sums held against a real sreport: hours of another zone are found, and books that are away are not equal.

The zone of slurmdbd has three quarters of an hour, so that none of its hours is one of ours. Days are compared once
they are over, and no test can wait for that: its records are moved there in slurmdbd's own tables, and then added up by it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest
from django.core.management import CommandError, call_command
from pytest_django.fixtures import Settings

from accounting.models import CollectionWindow, Discrepancy, Outcome, Reconciliation
from accounting.reconciling import midnight
from jobs import collecting, sync
from tests.cluster.one_machine import MARK, SlurmCluster, until
from tests.cluster.reporting import cluster_of_its_own, roll_up_since
from tests.cluster.workload import TWO, Workload
from tests.cluster.world import World, make_world

pytestmark = [pytest.mark.cluster, pytest.mark.django_db(transaction=True)]

NAME, PREFIX = f"books_{MARK}", f"fp-b{MARK}-"
ZONE, EARLIER = "LAB-05:45", timedelta(minutes=45)  # an hour of it begins so much before ours
A_DAY = timedelta(days=1)
MOVED = """
    UPDATE firefly_job_table
    SET time_submit = @start, time_eligible = @start, time_start = @start, time_end = @end
    WHERE id_job = @job
"""
AGED = "UPDATE firefly_event_table SET time_start = time_start - @seconds"


@pytest.fixture
def slurm() -> Iterator[SlurmCluster]:
    with cluster_of_its_own(NAME, PREFIX, "test-books", ZONE) as slurm:
        yield slurm


@pytest.fixture
def world(slurm: SlurmCluster, settings: Settings) -> World:
    settings.CLUSTERS_FILE = slurm.state / "clusters.toml"
    settings.POSIX_PREFIX = slurm.prefix
    return make_world(slurm)


def ended(load: Workload, gpus: str) -> str:
    job = load.sbatch(gpus, seconds=1)
    until(lambda: load.slurm.held_by(job))
    return job


def move(slurm: SlurmCluster, job: str, start: datetime, end: datetime) -> None:
    """Have slurmdbd believe that it ran then."""
    _change(slurm, MOVED, job=int(job), start=int(start.timestamp()), end=int(end.timestamp()))


def age(slurm: SlurmCluster, by: timedelta) -> None:
    """Have it believe that the cluster has been there for so much longer: before, it adds up nothing."""
    _change(slurm, AGED, seconds=int(by.total_seconds()))


def _change(slurm: SlurmCluster, statement: str, **values: int) -> None:
    """`statement` names the values as @name."""
    given = "".join(f"SET @{name} = {value}; " for name, value in values.items())
    slurm.said(
        *("mariadb", f"--socket={slurm.root}/run/mysql/socket", "--user=root", "slurm_acct_db"),
        f"--execute={given}{statement}",
    )


def reconciled(first: date, last: date) -> int:
    """The command's exit code."""
    try:
        call_command("reconcile", cluster="firefly", first=first, last=last)
    except CommandError as refused:
        return refused.returncode
    return 0


def test_the_portal_s_sums_are_those_of_sreport(slurm: SlurmCluster, world: World) -> None:
    yesterday = datetime.now(UTC).date() - A_DAY
    before, earliest = yesterday - A_DAY, yesterday - 2 * A_DAY
    noon, edge = midnight(earliest) + A_DAY / 2, midnight(yesterday)
    load = Workload(world)
    move(slurm, ended(load, "--gres=gpu:3"), noon, noon + timedelta(seconds=607))
    move(slurm, ended(load, TWO), edge - timedelta(minutes=60), edge + timedelta(minutes=20))
    age(slurm, 5 * A_DAY)
    roll_up_since(slurm, ZONE, noon - A_DAY)
    sync.poll(world.cluster.pk)
    assert collecting.collect(world.cluster.pk, CollectionWindow.Kind.WEEK) is not None

    assert reconciled(earliest, yesterday) == 0
    assert not Discrepancy.objects.open().exists()
    compared = {one.day: one for one in Reconciliation.objects.with_counts()}
    inside = compared[earliest]  # no run is near its ends
    assert (inside.outcome, inside.ours, inside.theirs) == (Outcome.AGREES, 3 * 607, 3 * 607)
    for day, ours, theirs in ((before, 60, 15), (yesterday, 20, 65)):
        over_the_edge = compared[day]
        assert (over_the_edge.ours, over_the_edge.theirs) == (2 * 60 * ours, 2 * 60 * theirs)
        assert over_the_edge.zone_minutes == EARLIER.seconds // 60
        assert Discrepancy.objects.get(day=day).cause == Discrepancy.Cause.ZONE

    slurm.stop("slurmdbd")
    until(lambda: slurm.exec(["sacctmgr", "-n", "show", "cluster"]).returncode != 0)
    assert reconciled(yesterday, yesterday) == 2
    away = Reconciliation.objects.with_counts().get(day=yesterday)
    assert (away.outcome, away.ours, away.theirs) == (Outcome.UNREAD, None, None)
    assert away.trouble
    slurm.start("slurmdbd")
