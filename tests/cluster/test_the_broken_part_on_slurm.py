"""Each part of a real cluster is stopped in turn, and the staff's page names it; the next answer says that it is mended."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.urls import reverse
from pytest_django.fixtures import Settings

from jobs import hops, sync
from jobs.models import ClusterHealth
from portal.models import User
from tests.cluster.one_machine import SlurmCluster, until
from tests.cluster.world import World, make_world
from tests.pages import browser, words

pytestmark = [pytest.mark.cluster, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def world(on_cluster: None, slurm_cluster: SlurmCluster, db: None) -> World:
    return make_world(slurm_cluster)


@contextmanager
def stopped(slurm: SlurmCluster, daemon: str) -> Iterator[None]:
    slurm.stop(daemon)
    try:
        yield
    finally:
        slurm.start(daemon)


def asked(world: World) -> dict[str, str]:
    """The tones after one more poll, whatever pause there was."""
    ClusterHealth.objects.update(try_again_at=None, asked_at=None)
    sync.poll(world.cluster.pk)
    road = next(road for road in hops.roads() if road.cluster == world.cluster)
    return {hop.key: hop.tone for hop in road.hops}


def well(world: World) -> bool:
    found = asked(world)
    return {found[part] for part in ("ssh", "gateway", "slurmctld", "slurmdbd")} == {"ok"}


@pytest.mark.parametrize("daemon", ["slurmctld", "slurmdbd"])
def test_a_daemon_that_is_away_is_named(world: World, slurm_cluster: SlurmCluster, daemon: str) -> None:
    until(lambda: well(world))
    with stopped(slurm_cluster, daemon):
        found = asked(world)
        assert (found["ssh"], found["gateway"], found[daemon]) == ("ok", "ok", "bad")
        if daemon == "slurmdbd":
            assert found["slurmctld"] == "ok"
    until(lambda: well(world), 60)


def test_a_login_node_that_is_away_is_named_and_what_is_behind_is_not_known(
    world: World, sam: User, settings: Settings, tmp_path: Path
) -> None:
    until(lambda: well(world))
    text = Path(settings.CLUSTERS_FILE).read_text()
    settings.CLUSTERS_FILE = tmp_path / "clusters.toml"
    settings.CLUSTERS_FILE.write_text(re.sub(r"(?m)^port = .*$", "port = 1", text))
    found = asked(world)
    assert (found["ssh"], found["gateway"], found["slurmctld"], found["slurmdbd"]) == (
        "bad",
        "wait",
        "wait",
        "wait",
    )
    page = words(browser(sam).get(reverse("jobs:health")))
    ssh = page[page.index(" SSH ") : page.index(" gateway ", page.index(" SSH "))]
    assert re.search(r"fails (just now|\d+ s ago)$", ssh)
    assert "can't be reached" in page
