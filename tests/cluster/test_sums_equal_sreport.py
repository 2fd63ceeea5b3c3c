"""Over a mixed real workload: portal = sreport = Σ GPUs × (End − Start), to the second, and so does an import.

sreport adds up finished hours of slurmdbd's own zone. The cluster of this test has a zone in which an hour ends in a
few minutes: the workload runs in it, the hour ends, and sreport is asked for just that hour.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command
from pytest_django.fixtures import Settings

from accounting import ledger
from accounting.models import Cluster, LedgerEntry, UsageDay, UsageRecord
from jobs import sync
from portal.models import Institution
from tests.cluster.one_machine import CHECKOUT, SlurmCluster, control, until
from tests.cluster.world import World, make_world

pytestmark = [pytest.mark.cluster, pytest.mark.django_db(transaction=True)]

NAME, PREFIX = "sums", "fp-s-"
TIME_TO_RUN = timedelta(minutes=4)  # a requeued job waits two minutes before it starts anew
FIELDS = "DBIndex,JobIDRaw,JobID,Account,User,Partition,QOS,Submit,Start,End,ElapsedRaw,Suspended,State,NNodes,ReqTRES,AllocTRES,JobName"
DELIMITER = "\x1f7c1e"


@dataclass(frozen=True)
class Hour:
    """The hour of slurmdbd's zone in which the workload runs."""

    end: datetime

    @classmethod
    def that_ends_soon(cls) -> Hour:
        return cls((datetime.now(UTC) + TIME_TO_RUN + timedelta(minutes=1)).replace(second=0, microsecond=0))

    @property
    def zone(self) -> str:
        """A POSIX zone in which `end` is a full hour."""
        return f"LAB-00:{(60 - self.end.minute) % 60:02}"

    def local(self, moment: datetime) -> str:
        shift = timedelta(minutes=(60 - self.end.minute) % 60)
        return (moment + shift).strftime("%Y-%m-%dT%H:%M:%S")


@pytest.fixture
def hour() -> Hour:
    return Hour.that_ends_soon()


@pytest.fixture
def slurm(hour: Hour) -> Iterator[SlurmCluster]:
    """A cluster of this test's own: nothing ran on it before."""
    state = CHECKOUT / ".state" / "test-sums"
    control("destroy", "--state", str(state))
    up = control("up", "--state", str(state), "--name", NAME, "--prefix", PREFIX, "--slurmdbd-tz", hour.zone)
    assert up.returncode == 0, up.stdout + up.stderr
    yield SlurmCluster(state, NAME, PREFIX)
    control("destroy", "--state", str(state))


@pytest.fixture
def worlds(slurm: SlurmCluster, settings: Settings) -> list[World]:
    """Labs of two institutions on one cluster."""
    settings.CLUSTERS_FILE = slurm.state / "clusters.toml"
    settings.POSIX_PREFIX = slurm.prefix
    return [make_world(slurm), make_world(slurm)]


class Workload:
    """Jobs of every kind, sent around the portal as a member would on the login node."""

    def __init__(self, world: World) -> None:
        self.slurm = world.slurm
        self.user = world.account.username
        self.account = world.project.account

    def sbatch(self, *options: str, seconds: int = 5) -> str:
        job = self.slurm.said(
            *("sbatch", "--parsable", f"--account={self.account}", "--output=/dev/null", *options),
            f"--wrap=sleep {seconds}",
            user=self.user,
        )
        return job.partition(";")[0]

    def state(self, job: str) -> str:
        return self.slurm.said(
            "squeue", "--noheader", "--states=all", f"--jobs={job}", "--format=%T"
        ).partition("\n")[0]

    def running(self, job: str) -> str:
        until(lambda: self.state(job) == "RUNNING")
        return job

    def start(self) -> None:
        """All of it is under way when this returns."""
        two = "--gres=gpu:a100:2"
        self.sbatch(two)
        self.sbatch("--gres=gpu:3")  # untyped
        self.sbatch("--array=1-3", "--gres=gpu:a100:1")
        self.sbatch("--exclusive", "--nodes=1", "--gres=gpu:a100:1")
        self.sbatch("--gres=gpu:a100:1", ":", two)
        self.sbatch(two, "--job-name=a|b\nfirefly|999|1|1|other|x|a100|gres/gpu=64")
        self.sbatch("--nodes=2", "--gres=gpu:a100:4")
        self.sbatch()  # no GPU at all
        cancelled = self.running(self.sbatch(two, seconds=300))
        suspended = self.running(self.sbatch(two, seconds=12))
        requeued = self.running(self.sbatch(two, "--requeue", seconds=8))
        self.slurm.said("scontrol", "requeue", requeued)
        self.slurm.said("scontrol", "suspend", suspended)
        never_started = self.sbatch("--begin=now+1hour", two)
        self.slurm.said("scancel", cancelled, never_started)
        until(lambda: self.state(suspended) == "SUSPENDED")
        held = time.monotonic()
        until(lambda: time.monotonic() - held > 3)  # suspended seconds are what this job is about
        self.slurm.said("scontrol", "resume", suspended)

    def over(self) -> bool:
        return not self.slurm.said("squeue", "--noheader", f"--account={self.account}")


def sreport(slurm: SlurmCluster, hour: Hour) -> dict[str, int]:
    """GPU-seconds of each account in that hour, as Slurm itself adds them up."""
    begin = hour.end - timedelta(hours=1)
    said = slurm.said(
        *(
            "env",
            f"TZ={hour.zone}",
            "sreport",
            "--noheader",
            "--parsable2",
            "-t",
            "seconds",
            "-T",
            "gres/gpu",
        ),
        *("cluster", "AccountUtilizationByUser", f"start={hour.local(begin)}", f"end={hour.local(hour.end)}"),
        "format=Account,Login,Used",
    )
    rows = [line.split("|") for line in said.splitlines()]
    return {account: int(used) for account, login, used in rows if not login}


def roll_up(slurm: SlurmCluster, hour: Hour) -> None:
    until(lambda: datetime.now(UTC) > hour.end + timedelta(seconds=1), TIME_TO_RUN.total_seconds() + 120)
    day = hour.local(hour.end - timedelta(hours=1))
    slurm.said(
        "env", f"TZ={hour.zone}", "sacctmgr", "-i", "rollup", f"{day[5:7]}/{day[8:10]}/{day[2:4]}-00:00:00"
    )


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


def test_portal_sreport_and_plain_sum_agree(worlds: list[World], hour: Hour, tmp_path: Path) -> None:
    slurm, cluster = worlds[0].slurm, worlds[0].cluster
    loads = [Workload(world) for world in worlds]
    for load in loads:
        load.start()
    through_the_portal = worlds[0].submit("#!/bin/bash\nsleep 2\n", gpus=4)
    worlds[0].send()
    worlds[0].poll_until(through_the_portal, lambda job: job.is_final)
    until(lambda: all(load.over() for load in loads), TIME_TO_RUN.total_seconds())
    assert datetime.now(UTC) < hour.end, "the workload took longer than its hour"

    sync.collect(cluster.pk)
    roll_up(slurm, hour)
    by_slurm = sreport(slurm, hour)

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
