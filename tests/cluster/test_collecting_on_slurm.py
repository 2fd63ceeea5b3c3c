"""On a real Slurm: what is asked before any record is believed, and windows that are read whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db.models import Sum

from accounting.models import Capability, CollectionWindow, LedgerEntry, UsageDay, UsageRecord
from jobs import collecting, probing
from jobs.collecting import Kind
from jobs.schedulers import Check
from tests.cluster.one_machine import SlurmCluster, until
from tests.cluster.world import World, make_world

pytestmark = [pytest.mark.cluster, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def world(on_cluster: None, slurm_cluster: SlurmCluster) -> World:
    """Its cluster was never looked at."""
    made = make_world(slurm_cluster)
    Capability.objects.all().delete()
    return made


def ran(world: World, seconds: int = 2) -> None:
    """A job around the portal, to its end."""
    job = world.slurm.said(
        *("sbatch", "--parsable", f"--account={world.project.account}", "--output=/dev/null"),
        *("--gres=gpu:a100:2", f"--wrap=sleep {seconds}"),
        user=world.account.username,
    ).partition(";")[0]
    until(lambda: world.slurm.held_by(job), 60)


def held_back(world: World) -> tuple[object, ...]:
    window = CollectionWindow.objects.get(cluster=world.cluster, kind=Kind.RECENT)
    return window.since, window.until, window.succeeded_at, window.records


@contextmanager
def frozen(slurm: SlurmCluster, program: str) -> Iterator[None]:
    slurm.said("pkill", "-STOP", "-x", program)
    try:
        yield
    finally:
        slurm.said("pkill", "-CONT", "-x", program)


@contextmanager
def without_its_level(slurm: SlurmCluster, collector: str) -> Iterator[None]:
    def level(name: str) -> None:
        slurm.said("sacctmgr", "-i", "modify", "user", collector, "set", f"adminlevel={name}")

    level("None")
    try:
        yield
    finally:
        level("Operator")


def runs_of(world: World) -> list[list[int]]:
    """As SlurmCluster.runs."""
    ours = UsageRecord.objects.filter(account=world.project.account, provisional=False)
    return sorted(
        [int(one.start.timestamp()), int(one.held_until.timestamp()), one.gpus]
        for one in ours
        if one.start and one.held_until
    )


def everything_of(world: World) -> list[object]:
    """Whatever was written of the account, and when."""
    records = UsageRecord.objects.filter(account=world.project.account)
    days = UsageDay.objects.filter(account=world.project.account)
    entries = LedgerEntry.objects.filter(allocation=world.allocation)
    return [list(rows.order_by("pk").values()) for rows in (records, days, entries)]


def test_a_slurm_as_the_guide_sets_it_up_is_measured(world: World) -> None:
    assert probing.is_measured(world.cluster)
    known = Capability.objects.get(cluster=world.cluster)
    assert {one["check"] for one in known.findings if one["ok"]} == {*Check, probing.CLOCK}


def test_a_collector_that_sees_only_its_own_records_is_found_and_nothing_is_read(world: World) -> None:
    ran(world)
    with without_its_level(world.slurm, f"{world.slurm.prefix}collector"):
        assert not probing.is_measured(world.cluster)
        assert collecting.collect(world.cluster.pk) is None
    known = Capability.objects.get(cluster=world.cluster)
    assert [one["check"] for one in known.findings if not one["ok"]] == [Check.RIGHTS]
    assert not UsageRecord.objects.exists()
    probing.check(world.cluster)  # mended, and asked for again
    assert collecting.collect(world.cluster.pk) is not None
    assert UsageRecord.objects.filter(account=world.project.account).exists()


def test_every_window_brings_the_same_to_the_second_and_again_changes_nothing(world: World) -> None:
    ran(world)
    ran(world)
    for kind in Kind:
        assert collecting.collect(world.cluster.pk, kind) is not None
        assert runs_of(world) == world.slurm.runs(world.project.account) != []
        used = UsageDay.objects.filter(account=world.project.account).aggregate(sum=Sum("gpu_seconds"))["sum"]
        assert used == world.slurm.held(world.project.account) > 0
        window = CollectionWindow.objects.get(cluster=world.cluster, kind=kind)
        assert window.since and window.until and window.succeeded_at and not window.trouble
        assert window.records > 0
    before = everything_of(world)
    assert collecting.collect(world.cluster.pk, Kind.WEEK) is not None
    assert everything_of(world) == before


def test_an_accounting_that_does_not_answer_leaves_the_watermark_and_loses_nothing(world: World) -> None:
    ran(world)
    assert collecting.collect(world.cluster.pk) is not None
    before = held_back(world)
    with frozen(world.slurm, "slurmdbd"):
        assert collecting.collect(world.cluster.pk) is None
    assert held_back(world) == before
    window = CollectionWindow.objects.get(cluster=world.cluster, kind=Kind.RECENT)
    assert "sacct failed" in window.trouble
    ran(world)
    assert collecting.collect(world.cluster.pk) is not None
    used = UsageDay.objects.filter(account=world.project.account).aggregate(sum=Sum("gpu_seconds"))["sum"]
    assert used == world.slurm.held(world.project.account)
