"""A randomized soak: whatever jobs do and whatever breaks, portal = sreport = Σ GPUs × (End − Start), to the second.

Jobs of every kind, a part of them through the portal, run while nodes fail, slurmdbd and slurmctld go away and come
back, and the portal's clock is off by a minute. The portal's workers turn all along, in a thread of their own.
FIREFLY_SOAK_MINUTES (3; `./dev test --long`: 30) is how long; FIREFLY_SOAK_SEED plays the same choices again.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from types import TracebackType
from typing import Self

import pytest
import time_machine
from django.db import connections
from django.db.models import Count, Sum
from pytest_django.fixtures import Settings

from accounting import ledger
from accounting.models import Cluster, Hold, LedgerEntry, UsageDay, UsageRecord
from accounting.units import charged
from jobs import actions, balance_checks, collecting, dispatch, sync
from jobs.models import Job
from tests.cluster.one_machine import MARK, SlurmCluster, until
from tests.cluster.reporting import Window, cluster_of_its_own, roll_up, sreport
from tests.cluster.workload import TWO, Workload
from tests.cluster.world import World, make_world
from tests.factories import PartitionFactory

pytestmark = [pytest.mark.cluster, pytest.mark.django_db(transaction=True)]

NAME, PREFIX = f"soak_{MARK}", f"fp-k{MARK}-"
MINUTES = float(os.environ.get("FIREFLY_SOAK_MINUTES", "3"))
SEED = int(os.environ.get("FIREFLY_SOAK_SEED") or random.SystemRandom().randrange(1_000_000))
AROUND = timedelta(minutes=4)  # starting the cluster before the mix, letting its jobs end after it
LET_RUN = 60  # seconds after the mix in which what waits may run; the rest is cancelled
A_MINUTE = timedelta(minutes=1)

PREEMPTIBLE = "a100-preemptible"
FOR_PREEMPTION = "gpu04"  # the other jobs leave it free
NOT_THERE = f"--exclude={FOR_PREEMPTION}"
OTHER_NODES = ("gpu01", "gpu02", "gpu03")
# Till later than now: what was cancelled while it waited for its time to begin shows only in a window past that time.
EVERY_RECORD = ("sacct", "-a", "-X", "-D", "-n", "-P", "-S", "now-1day", "-E", "now+1hour")

Deed = Callable[[], object]


# ── The portal ───────────────────────────────────────────────────────────────


class Workers:
    """What the portal's workers do for a cluster when beat rings them, without beat."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.turns = 0
        self._enough = threading.Event()
        self._thread = ThreadPoolExecutor(1)

    def __enter__(self) -> Self:
        self._work = self._thread.submit(self._turn_on)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._enough.set()
        self._thread.shutdown()
        self._work.result()

    def check(self) -> None:
        """Raises what ended the workers, if something did."""
        if self._work.done():
            self._work.result()

    def _turn_on(self) -> None:
        try:
            while not self._enough.wait(0.5):
                self._turn()
                self.turns += 1
        finally:
            connections.close_all()

    def _turn(self) -> None:
        pk = self.cluster.pk
        dispatch.send_waiting(pk)
        dispatch.cancel_wanted(pk)
        dispatch.resolve_unclear(pk)
        for due in sync.due():
            sync.poll(due)
        if self.turns % 5 == 0:
            collecting.collect(pk)


# ── What happens ─────────────────────────────────────────────────────────────


class Soak:
    """Deeds in the order of a deck that is shuffled again and again, and one trouble after the other."""

    def __init__(self, worlds: list[World], draw: random.Random) -> None:
        self.slurm = worlds[0].slurm
        self.worlds = worlds
        self.loads = [Workload(world) for world in worlds]
        self.draw = draw
        self.tiers = [worlds[0].partition, worlds[0].cluster.partitions.get(name=PREEMPTIBLE)]
        self.to_do: list[tuple[Callable[[], bool], Deed]] = []  # each once its condition holds
        self.to_mend: list[Deed] = []  # the trouble that there is now
        self.deeds = self._dealt(
            [
                *(self.plain, self.untyped, self.without_gpu, self.array, self.het, self.exclusive),
                *(self.two_nodes, self.through_portal, self.through_portal, self.preempted),
                *(self.requeue, self.suspend, self.cancel, self.cancel_in_portal),
            ]
        )
        self.troubles = self._dealt(
            [
                *(self.accounting_away, self.controller_restarts, self.node_down, self.node_killed),
                *(self.clock_ahead, self.clock_behind),
            ]
        )

    def go_on(self, seconds: float, workers: Workers) -> None:
        end = time.monotonic() + seconds
        next_trouble = time.monotonic() + 8
        while time.monotonic() < end:
            workers.check()
            self._do(next(self.deeds))
            if time.monotonic() > next_trouble:
                self.mend()
                self._do(next(self.troubles))
                next_trouble = time.monotonic() + self.draw.uniform(10, 20)
            self._catch_up()
            until(self._after(self.draw.uniform(0.2, 1.5)))
        self.mend()

    def mend(self) -> None:
        while self.to_mend:
            self.to_mend.pop()()

    def let_end(self) -> None:
        """What waits may run soon, what is suspended goes on; what takes too long is cancelled."""
        late = self._after(LET_RUN)

        def nothing_left() -> bool:
            self._catch_up()
            for load in self.loads:
                for job in load.queued("suspended"):
                    self._control("resume", job)
                for job in load.queued("pending"):
                    self._hasten(job)
                if late():
                    self.slurm.exec(["scancel", f"--account={load.account}"])
            return all(load.over() for load in self.loads)

        until(nothing_left, LET_RUN + 90)

    def _dealt(self, cards: list[Deed]) -> Iterator[Deed]:
        while True:
            yield from self.draw.sample(cards, len(cards))

    def _do(self, deed: Deed) -> None:
        print(f"{time.strftime('%H:%M:%S')} {getattr(deed, '__name__', deed)}")
        deed()

    def _catch_up(self) -> None:
        due = [one for one in self.to_do if one[0]()]
        self.to_do = [one for one in self.to_do if one not in due]
        for _condition, deed in due:
            deed()

    @staticmethod
    def _after(seconds: float) -> Callable[[], bool]:
        then = time.monotonic() + seconds
        return lambda: time.monotonic() >= then

    def _control(self, *words: str) -> None:
        """The controller may be away: then nothing happens."""
        self.slurm.exec(["scontrol", *words])

    def _hasten(self, job: str) -> None:
        """A requeued job would wait two minutes."""
        self._control("update", f"jobid={job}", "starttime=now")

    # Jobs

    def _sbatch(self, *options: str) -> None:
        load = self.draw.choice(self.loads)
        load.try_sbatch(NOT_THERE, *options, seconds=self.draw.randint(2, 20))

    def plain(self) -> None:
        self._sbatch(f"--gres=gpu:a100:{self.draw.randint(1, 8)}")

    def untyped(self) -> None:
        self._sbatch(f"--gres=gpu:{self.draw.randint(1, 4)}")

    def without_gpu(self) -> None:
        self._sbatch()

    def array(self) -> None:
        self._sbatch(f"--array=1-{self.draw.randint(2, 5)}%3", "--gres=gpu:a100:1")

    def het(self) -> None:
        self._sbatch("--gres=gpu:a100:1", ":", NOT_THERE, TWO)

    def exclusive(self) -> None:
        self._sbatch("--exclusive", "--nodes=1", "--gres=gpu:a100:1")

    def two_nodes(self) -> None:
        self._sbatch("--nodes=2", f"--gres=gpu:a100:{self.draw.randint(1, 4)}")

    def through_portal(self) -> None:
        world = replace(self.draw.choice(self.worlds), partition=self.draw.choice(self.tiers))
        seconds = self.draw.randint(1, 15)
        world.submit(f"#!/bin/bash\nsleep {seconds}\n", gpus=self.draw.choice((1, 2, 4, 8, 16)))

    def preempted(self) -> None:
        """A job of the low tier takes the node; once it runs, one of the tier above wants it."""
        low, high = self.draw.choice(self.loads), self.draw.choice(self.loads)
        node = ("--exclusive", f"--nodelist={FOR_PREEMPTION}", TWO)
        self._control("update", f"partitionname={PREEMPTIBLE}", "gracetime=5")
        job = low.try_sbatch(f"--partition={PREEMPTIBLE}", "--requeue", *node, seconds=40)
        if job:
            self.to_do.append(
                (
                    lambda: low.state(job) == "RUNNING",
                    lambda: high.try_sbatch("--partition=a100", *node, seconds=4),
                )
            )

    def _some(self, state: str) -> str:
        jobs = [job for load in self.loads for job in load.queued(state)]
        return self.draw.choice(jobs) if jobs else ""

    def requeue(self) -> None:
        if job := self._some("running"):
            self._control("requeue", job)
            self.to_do.append((self._after(self.draw.uniform(2, 15)), lambda: self._hasten(job)))

    def suspend(self) -> None:
        if job := self._some("running"):
            self._control("suspend", job)
            self.to_do.append((self._after(self.draw.uniform(1, 10)), lambda: self._control("resume", job)))

    def cancel(self) -> None:
        if job := self._some(self.draw.choice(("running", "pending", "suspended"))):
            self.slurm.exec(["scancel", job])

    def cancel_in_portal(self) -> None:
        jobs = list(Job.objects.unfinished().select_related("owner", "project__lab"))
        if jobs:
            job = self.draw.choice(jobs)
            with suppress(actions.Refused):  # it just ended
                actions.cancel(by=job.owner, job=job)

    # Troubles

    def accounting_away(self) -> None:
        self.slurm.stop("slurmdbd")
        self.to_mend.append(lambda: self.slurm.start("slurmdbd"))

    def controller_restarts(self) -> None:
        """Nothing else is done meanwhile: every command would wait for it."""
        self.slurm.stop("slurmctld")
        until(self._after(self.draw.uniform(0, 5)))
        self.slurm.start("slurmctld")

    def node_down(self) -> None:
        """A node with jobs on it, if there is one."""
        busy = self.slurm.exec(["squeue", "--noheader", "--states=running", "--format=%B"]).stdout.split()
        node = self.draw.choice([name for name in busy if name in OTHER_NODES] or list(OTHER_NODES))
        self._control("update", f"nodename={node}", "state=down", "reason=soak")
        self.to_mend.append(lambda: self._control("update", f"nodename={node}", "state=resume"))

    def node_killed(self) -> None:
        """Its daemon dies at once and is started again; the jobs' own processes live on."""
        node = self.draw.choice(OTHER_NODES)
        self.slurm.exec(["pkill", "-KILL", "--full", f"slurmd -D -N {node}"])

    def clock_ahead(self) -> None:
        self._clock_off_by(A_MINUTE)

    def clock_behind(self) -> None:
        self._clock_off_by(-A_MINUTE)

    def _clock_off_by(self, difference: timedelta) -> None:
        """Of this process, which is the portal; Slurm's stays right."""
        traveller = time_machine.travel(datetime.now().astimezone() + difference, tick=True)
        traveller.start()
        self.to_mend.append(traveller.stop)


# ── What must hold ───────────────────────────────────────────────────────────


@pytest.fixture
def window() -> Window:
    return Window.of(timedelta(minutes=MINUTES) + AROUND)


@pytest.fixture
def slurm(window: Window) -> Iterator[SlurmCluster]:
    with cluster_of_its_own(NAME, PREFIX, "test-soak", window.zone) as slurm:
        yield slurm


@pytest.fixture
def worlds(slurm: SlurmCluster, settings: Settings) -> list[World]:
    settings.CLUSTERS_FILE = slurm.state / "clusters.toml"
    settings.POSIX_PREFIX = slurm.prefix
    made = [make_world(slurm), make_world(slurm)]
    PartitionFactory.create(
        cluster=made[0].cluster,
        name=PREEMPTIBLE,
        cpus_per_gpu=1,
        memory_per_gpu_mib=100,
        factor=Decimal("0.3333"),
    )
    return made


def test_all_sums_agree_whatever_happened(
    worlds: list[World], window: Window, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        print(f"\nFIREFLY_SOAK_SEED={SEED} FIREFLY_SOAK_MINUTES={MINUTES:g}")
    slurm, cluster = worlds[0].slurm, worlds[0].cluster
    soak = Soak(worlds, random.Random(SEED))  # noqa: S311  # no secret: a choice to be repeated
    with Workers(cluster) as workers:
        try:
            soak.go_on(MINUTES * 60, workers)
        finally:
            soak.mend()
        soak.let_end()
        until(lambda: all_recorded(slurm), 60)
        until(lambda: not Job.objects.unfinished().exists(), 120)
    assert not window.is_over, "the workload took longer than its hours"
    assert workers.turns > MINUTES * 10
    assert collecting.collect(cluster.pk) is not None

    it_was_a_mix(slurm, cluster)
    roll_up(slurm, window)
    by_slurm = sreport(slurm, window)
    for world in worlds:
        account = world.project.account
        days = portal_days(cluster, account)
        assert days == slurm.held_by_day(account)
        assert sum(days.values()) == slurm.held(account) == by_slurm[account]
        assert by_slurm[account] == by_slurm[world.project.lab.institution.account]
    records_are_whole(slurm, cluster)
    ledger_is_intact(worlds)
    assert balance_checks.found() == []


def all_recorded(slurm: SlurmCluster) -> bool:
    """The accounting has the end of everything."""
    ends = slurm.exec([*EVERY_RECORD, "-o", "End"])
    return ends.returncode == 0 and "Unknown" not in ends.stdout


def it_was_a_mix(slurm: SlurmCluster, cluster: Cluster) -> None:
    states = Counter(UsageRecord.objects.filter(cluster=cluster).values_list("state", flat=True))
    print(states)
    assert states.keys() >= {"COMPLETED", "CANCELLED", "REQUEUED", "NODE_FAIL", "PREEMPTED"}
    ids = UsageRecord.objects.filter(cluster=cluster).values_list("job_id", flat=True)
    assert any("_" in job_id for job_id in ids)
    assert any("+" in job_id for job_id in ids)
    suspended = slurm.said(*EVERY_RECORD, "-o", "Suspended")
    assert set(suspended.split()) > {"00:00:00"}
    assert {job.state for job in Job.objects.all()} >= {"succeeded", "cancelled"}


def portal_days(cluster: Cluster, account: str) -> dict[date, int]:
    days = UsageDay.objects.filter(cluster=cluster, account=account).order_by().values("day")
    return {row["day"]: row["sum"] for row in days.annotate(sum=Sum("gpu_seconds"))}


def records_are_whole(slurm: SlurmCluster, cluster: Cluster) -> None:
    """Each of Slurm's records once, none provisional or odd, and the days sum to them."""
    records = UsageRecord.objects.filter(cluster=cluster)
    indexes = slurm.said(*EVERY_RECORD, "-o", "DBIndex").split()
    assert sorted(records.values_list("identity", flat=True)) == sorted(set(indexes))
    assert list(records.exclude(provisional=False, anomaly="")) == []
    assert (
        not records.values("job_id_raw", "start")
        .filter(gpu_seconds__gt=0)
        .annotate(n=Count("pk"))
        .filter(n__gt=1)
    )
    whole = records.aggregate(sum=Sum("gpu_seconds"))["sum"]
    assert whole == UsageDay.objects.filter(cluster=cluster).aggregate(sum=Sum("gpu_seconds"))["sum"]
    for record in records:
        held = (record.end - record.start).total_seconds() if record.start and record.end else 0
        assert record.gpu_seconds == record.gpus * held


def ledger_is_intact(worlds: list[World]) -> None:
    assert not Hold.objects.open().exists()
    for job in Job.objects.all():
        assert len(worlds[0].in_slurm(job)) == bool(job.scheduler_id), "sent once, or never"
    prices = {part.name: part for part in worlds[0].cluster.partitions.all()}
    for record in UsageRecord.objects.exclude(project=None).filter(gpu_seconds__gt=0):
        assert record.start
        price = charged(record.gpu_seconds, prices[record.partition].factor_at(record.start))
        entries = LedgerEntry.objects.filter(usage_record=record)
        assert entries.filter(kind="charge").count() == (price > 0)
        assert -sum(entry.gpu_seconds for entry in entries) == price
    charges = LedgerEntry.objects.filter(kind="charge")
    assert not charges.filter(usage_record__gpu_seconds=0).exists()
    for world in worlds:
        now = ledger.balance(world.allocation)
        entries = world.allocation.entries.aggregate(sum=Sum("gpu_seconds"))["sum"]
        assert now.balance == now.available == entries
        assert now.used == -charges_of(world)


def charges_of(world: World) -> int:
    whole: int = world.allocation.entries.filter(usage_record__isnull=False).aggregate(
        sum=Sum("gpu_seconds")
    )["sum"]
    return whole
