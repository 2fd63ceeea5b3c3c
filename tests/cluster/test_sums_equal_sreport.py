"""Over a mixed real workload: portal = sreport = Σ GPUs × (End − Start), to the second, and so does an import.

The workload runs in an hour of a zone of the cluster's own (tests/cluster/reporting.py), and sreport is asked for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command
from pytest_django.fixtures import Settings

from accounting import ledger
from accounting.models import Cluster, LedgerEntry, UsageDay, UsageRecord
from jobs import collecting
from portal.models import Institution
from tests.cluster.one_machine import MARK, SlurmCluster, until
from tests.cluster.reporting import Window, cluster_of_its_own, roll_up, sreport
from tests.cluster.workload import Workload
from tests.cluster.world import World, make_world

pytestmark = [pytest.mark.cluster, pytest.mark.django_db(transaction=True)]

NAME, PREFIX = f"sums_{MARK}", f"fp-s{MARK}-"
TIME_TO_RUN = timedelta(minutes=2)
FIELDS = "DBIndex,JobIDRaw,JobID,Account,User,Partition,QOS,Submit,Start,End,ElapsedRaw,Suspended,State,NNodes,ReqTRES,AllocTRES,JobName"
DELIMITER = "\x1f7c1e"


@pytest.fixture
def window() -> Window:
    return Window.of(TIME_TO_RUN)


@pytest.fixture
def slurm(window: Window) -> Iterator[SlurmCluster]:
    with cluster_of_its_own(NAME, PREFIX, "test-sums", window.zone) as slurm:
        yield slurm


@pytest.fixture
def worlds(slurm: SlurmCluster, settings: Settings) -> list[World]:
    """Labs of two institutions on one cluster."""
    settings.CLUSTERS_FILE = slurm.state / "clusters.toml"
    settings.POSIX_PREFIX = slurm.prefix
    return [make_world(slurm), make_world(slurm)]


def exported(slurm: SlurmCluster, file: Path) -> Path:
    """The same records as a site would hand them in: all columns, job names too, with a delimiter of its own."""
    said = slurm.exec(
        [
            *(
                "env",
                "TZ=UTC",
                "SLURM_TIME_FORMAT=standard",
                "sacct",
                "--allusers",
                "--allocations",
                "--duplicates",
            ),
            *(
                "--noconvert",
                "--parsable",
                f"--delimiter={DELIMITER}",
                "--starttime=now-1day",
                f"--format={FIELDS}",
            ),
        ]
    )
    assert said.returncode == 0, said.stderr
    file.write_text(said.stdout)
    return file


def test_portal_sreport_and_plain_sum_agree(worlds: list[World], window: Window, tmp_path: Path) -> None:
    slurm, cluster = worlds[0].slurm, worlds[0].cluster
    loads = [Workload(world) for world in worlds]
    for load in loads:
        load.start()
    through_the_portal = worlds[0].submit("#!/bin/bash\nsleep 2\n", gpus=4)
    worlds[0].send()
    worlds[0].poll_until(through_the_portal, lambda job: job.is_final)
    until(lambda: all(load.over() for load in loads), TIME_TO_RUN.total_seconds())
    assert not window.is_over, "the workload took longer than its hour"

    collecting.collect(cluster.pk)
    roll_up(slurm, window)
    by_slurm = sreport(slurm, window)

    states = set(UsageRecord.objects.values_list("state", flat=True))
    assert {"COMPLETED", "CANCELLED", "REQUEUED"} <= states
    for world in worlds:
        institution: Institution = world.project.lab.institution
        days = UsageDay.objects.filter(project__lab__institution=institution)
        portal = sum(day.gpu_seconds for day in days)
        assert portal > 0
        assert portal == slurm.held(world.project.account)
        assert portal == by_slurm[world.project.account]
        assert portal == by_slurm[institution.account]  # Slurm's tree carries the sum up to the institution
        assert ledger.balance(world.allocation).used == portal
    charged = UsageRecord.objects.filter(gpu_seconds__gt=0)
    assert LedgerEntry.objects.filter(kind="charge").count() == charged.count()

    call_command(
        "import_sacct",
        str(exported(slurm, tmp_path / "records.txt")),
        cluster="copy",
        delimiter=DELIMITER,
        stdout=StringIO(),
    )
    copy = Cluster.objects.get(name="copy")
    for world in worlds:
        live, imported = (
            {
                (day.day, day.user, day.partition, day.state): day.gpu_seconds
                for day in UsageDay.objects.filter(cluster=which, account=world.project.account)
            }
            for which in (cluster, copy)
        )
        assert imported == live
    assert not re.search("other", " ".join(UsageRecord.objects.values_list("account", flat=True)))
