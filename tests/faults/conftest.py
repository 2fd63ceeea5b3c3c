"""A lab on the real cluster, reached over a road that can break; a Redis without a message in it."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from django.conf import settings as live_settings
from pytest_django.fixtures import Settings

from tests.cluster.conftest import on_cluster as on_cluster
from tests.cluster.conftest import slurm_cluster as slurm_cluster
from tests.cluster.one_machine import SlurmCluster
from tests.cluster.world import World, make_world
from tests.faults.proxy import Proxy

SHARED = secrets.token_hex(3)  # institution and lab


@pytest.fixture
def world(slurm_cluster: SlurmCluster, on_cluster: None) -> World:
    redis.Redis.from_url(live_settings.REDIS_URL).flushdb()
    return make_world(slurm_cluster, above=SHARED)


@pytest.fixture
def road(world: World, settings: Settings, tmp_path: Path) -> Iterator[Proxy]:
    """The only way to the login node, from now on."""
    text = Path(settings.CLUSTERS_FILE).read_text()
    port = re.search(r"(?m)^port = (\d+)$", text)
    assert port
    with Proxy(int(port[1])) as proxy:
        settings.CLUSTERS_FILE = tmp_path / "clusters.toml"
        settings.CLUSTERS_FILE.write_text(text.replace(port[0], f"port = {proxy.port}"))
        yield proxy
