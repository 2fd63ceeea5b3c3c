"""A real Slurm for the tests, brought up once and taken down at the end."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_django.fixtures import Settings

from tests.cluster.one_machine import CHECKOUT, MARK, SlurmCluster, control, until

NAME, PREFIX = f"test_{MARK}", f"fp-{MARK}-"


@pytest.fixture(scope="session")
def slurm_cluster() -> Iterator[SlurmCluster]:
    """The instance in FIREFLY_TEST_STATE; it stays up if it was up before."""
    state = Path(os.environ.get("FIREFLY_TEST_STATE", CHECKOUT / ".state" / "test")).absolute()
    was_up = control("status", "--state", str(state)).returncode == 0
    up = control("up", "--state", str(state), "--name", NAME, "--prefix", PREFIX)
    assert up.returncode == 0, up.stdout + up.stderr
    cluster = SlurmCluster(state, NAME, PREFIX)
    _end_what_was_left(cluster)
    yield cluster
    if not was_up:
        down = control("down", "--state", str(state))
        assert down.returncode == 0, down.stdout + down.stderr


def _end_what_was_left(cluster: SlurmCluster) -> None:
    """A test that failed, or was stopped, may have left jobs on the GPUs that the next one needs."""
    for state in ("PENDING", "RUNNING", "SUSPENDED"):
        cluster.said("scancel", f"--state={state}")
    until(lambda: not cluster.said("squeue", "--noheader"), 60)


@pytest.fixture
def on_cluster(slurm_cluster: SlurmCluster, settings: Settings) -> None:
    """The portal's settings point at the real cluster."""
    settings.CLUSTERS_FILE = slurm_cluster.state / "clusters.toml"
    settings.POSIX_PREFIX = slurm_cluster.prefix


@pytest.fixture
def unreachable(on_cluster: None, world: object, settings: Settings, tmp_path: Path) -> None:
    """From now on, nobody listens where the login node was."""
    text = Path(settings.CLUSTERS_FILE).read_text()
    settings.CLUSTERS_FILE = tmp_path / "clusters.toml"
    settings.CLUSTERS_FILE.write_text(re.sub(r"(?m)^port = .*$", "port = 1", text))
