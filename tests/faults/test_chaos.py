"""A randomized mix of every fault under load: whatever breaks, one job per submission, one charge per run, nothing stuck.

Two members submit all the time, two workers and two beats turn; now one of them is killed, now the login node, Redis, the
controller or the accounting is away, a node breaks, and at some moment the database is restored from a backup.
FIREFLY_CHAOS_MINUTES (3; `./dev test --long`: 30) is how long; FIREFLY_CHAOS_SEED plays the same choices again.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, suppress
from datetime import timedelta
from pathlib import Path

import pytest
import redis
from django.conf import settings
from django.db.models import F

from accounting import ledger
from accounting.ledger import CORRECTED
from accounting.models import Collection, LedgerEntry, UsageRecord
from jobs import actions, balance_checks
from jobs.models import ClusterHealth, Job
from jobs.states import State
from tests.cluster.one_machine import until
from tests.cluster.workload import Workload
from tests.cluster.world import World, make_world
from tests.faults.backups import Restore, backup
from tests.faults.endings import in_slurm, indexes, not_charged_once
from tests.faults.programs import Process, beat, worker
from tests.faults.proxy import Proxy
from tests.faults.roads import speak_to_redis_over, through
from tests.running import kill

pytestmark = [pytest.mark.cluster, pytest.mark.django_db(transaction=True)]

MINUTES = float(os.environ.get("FIREFLY_CHAOS_MINUTES", "3"))
SEED = int(os.environ.get("FIREFLY_CHAOS_SEED") or random.SystemRandom().randrange(1_000_000))
LET_END = 300  # seconds: claims grow stale, grace times pass, a breaker pauses up to a minute
NODES = ("gpu01", "gpu02", "gpu03", "gpu04")

Deed = Callable[[], object]
Start = Callable[[Path], AbstractContextManager[Process]]


class Programs:
    """The portal's workers and clocks. Whichever is killed is started again."""

    def __init__(self, folder: Path, **env: str) -> None:
        self.folder = folder
        self._starts: dict[str, Start] = {
            name: lambda log, kind=kind: kind(log, **env)  # type: ignore[misc]
            for name, kind in (
                ("worker one", worker),
                ("worker two", worker),
                ("beat one", beat),
                ("beat two", beat),
            )
        }
        self._running: dict[str, tuple[ExitStack, Process]] = {}
        self._starts_made = 0

    def __enter__(self) -> Programs:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        for stack, _process in self._running.values():
            stack.close()

    def names(self, kind: str) -> list[str]:
        return [name for name in self._starts if name.startswith(kind)]

    def start(self) -> None:
        """Those that don't run."""
        for name in self._starts.keys() - self._running.keys():
            stack, self._starts_made = ExitStack(), self._starts_made + 1
            log = self.folder / f"{name} {self._starts_made}.log"
            self._running[name] = stack, stack.enter_context(self._starts[name](log))

    def kill(self, *names: str) -> None:
        for name in names:
            stack, process = self._running.pop(name)
            kill(process)
            stack.close()

    def check(self) -> None:
        for name, (_stack, process) in self._running.items():
            assert process.poll() is None, f"{name} ended by itself: see {self.folder}"


class Chaos:
    """Deeds, and troubles dealt from a deck that is shuffled again and again."""

    def __init__(
        self, worlds: list[World], programs: Programs, road: Proxy, redis_road: Proxy, draw: random.Random
    ) -> None:
        self.worlds, self.slurm, self.draw = worlds, worlds[0].slurm, draw
        self.programs, self.road, self.redis_road = programs, road, redis_road
        self.submitted: list[tuple[World, str]] = []  # (whose, token)
        self.cancelled: set[str] = set()  # tokens
        self.done: Counter[str] = Counter()
        self.to_mend: list[Deed] = []
        self._backups = ExitStack()
        self._restore: Restore | None = None
        self.troubles = self._dealt(
            [
                *(self.worker_killed, self.worker_killed, self.beat_killed, self.all_killed),
                *(self.controller_frozen, self.sbatch_killed, self.controller_restarts, self.accounting_away),
                *(self.road_refuses, self.road_swallows, self.road_cut, self.road_slow),
                *(self.redis_emptied, self.redis_refuses, self.redis_swallows, self.node_breaks),
                *(self.backed_up_or_restored, self.backed_up_or_restored),
            ]
        )

    def go_on(self, seconds: float) -> None:
        end, next_trouble = time.monotonic() + seconds, time.monotonic() + 5
        while time.monotonic() < end:
            self.programs.check()
            self.submit()
            if self.draw.random() < 0.08:
                self.cancel()
            if time.monotonic() > next_trouble:
                self.mend()
                self._do(next(self.troubles))
                next_trouble = time.monotonic() + self.draw.uniform(3, 8)
            until(_after(self.draw.uniform(0.2, 1.5)))
        self.mend()

    def mend(self) -> None:
        while self.to_mend:
            self.to_mend.pop()()

    def let_end(self) -> None:
        """Nothing breaks any more. What was requeued need not wait its two minutes."""

        def over() -> bool:
            self.programs.check()
            for world in self.worlds:
                for job in Workload(world).queued("pending"):
                    self.slurm.exec(["scontrol", "update", f"jobid={job}", "starttime=now"])
            return not Job.objects.unfinished().exists()

        try:
            until(over, LET_END)
        finally:
            stuck = Job.objects.unfinished().values_list("pk", "state", "reason", "message", "scheduler_id")
            print(f"stuck: {list(stuck)}", f"health: {ClusterHealth.objects.values()}", sep="\n")
            self._backups.close()

    def _dealt(self, cards: list[Deed]) -> Iterator[Deed]:
        while True:
            yield from self.draw.sample(cards, len(cards))

    def _do(self, deed: Deed) -> None:
        name = getattr(deed, "__name__", str(deed))
        print(f"{time.strftime('%H:%M:%S')} {name}")
        self.done[name] += 1
        deed()

    # People

    def submit(self) -> None:
        world = self.draw.choice(self.worlds)
        job = world.submit(
            f"#!/bin/bash\nsleep {self.draw.randint(0, 5)}\n",
            gpus=self.draw.choice((1, 1, 2, 4)),
            minutes=5,
            **({"data.bin": self.draw.randbytes(1 << 20)} if self.draw.random() < 0.1 else {}),
        )
        self.submitted.append((world, job.token))

    def cancel(self) -> None:
        job = self.draw.choice(
            list(Job.objects.unfinished().select_related("owner", "project__lab")) or [None]
        )
        with suppress(actions.Refused):  # it just ended
            if job:
                actions.cancel(by=job.owner, job=job)
                self.cancelled.add(job.token)

    # Programs

    def worker_killed(self) -> None:
        self._kill(self.draw.choice(self.programs.names("worker")))

    def beat_killed(self) -> None:
        self._kill(self.draw.choice(self.programs.names("beat")))

    def all_killed(self) -> None:
        self._kill(*self.programs.names(""))

    def _kill(self, *names: str) -> None:
        self.programs.kill(*names)
        self.to_mend.append(self.programs.start)

    # The cluster

    def controller_frozen(self) -> None:
        self.slurm.exec(["pkill", "-STOP", "-x", "slurmctld"])
        self.to_mend.append(lambda: self.slurm.exec(["pkill", "-CONT", "-x", "slurmctld"]))

    def sbatch_killed(self) -> None:
        """While it waits for a frozen controller, if there is one."""
        self.controller_frozen()
        with suppress(AssertionError):
            until(lambda: self.slurm.exec(["pkill", "-KILL", "-x", "sbatch"]).returncode == 0, 5)

    def controller_restarts(self) -> None:
        self.slurm.stop("slurmctld")
        self.to_mend.append(lambda: self.slurm.start("slurmctld"))

    def accounting_away(self) -> None:
        self.slurm.stop("slurmdbd")
        self.to_mend.append(lambda: self.slurm.start("slurmdbd"))

    def node_breaks(self) -> None:
        busy = self.slurm.exec(["squeue", "-h", "--states=running", "--format=%B"]).stdout.split()
        node = self.draw.choice(busy or list(NODES))
        self.slurm.exec(["scontrol", "update", f"nodename={node}", "state=down", "reason=chaos"])
        self.to_mend.append(
            lambda: self.slurm.exec(["scontrol", "update", f"nodename={node}", "state=resume"])
        )

    # The roads

    def road_refuses(self) -> None:
        self.road.refuse()
        self.to_mend.append(self.road.mend)

    def road_swallows(self) -> None:
        self.road.swallow()
        self.to_mend += [self.road.mend, self.road.cut]

    def road_cut(self) -> None:
        """In the middle of whatever is said next."""
        self.road.cut_after = self.road.up + self.draw.randint(1_000, 100_000)
        self.to_mend.append(self.road.mend)

    def road_slow(self) -> None:
        self.road.delay = self.draw.uniform(0.02, 0.3)
        self.to_mend.append(self.road.mend)

    def redis_emptied(self) -> None:
        redis.Redis.from_url(settings.REDIS_URL).flushall()

    def redis_refuses(self) -> None:
        self.redis_road.refuse()
        self.to_mend.append(self.redis_road.mend)

    def redis_swallows(self) -> None:
        self.redis_road.swallow()
        self.to_mend += [self.redis_road.mend, self.redis_road.refuse]  # what hangs in it is broken off

    # The database

    def backed_up_or_restored(self) -> None:
        """Nothing runs meanwhile. What was submitted since the backup and not sent yet is lost, and that is all."""
        self.programs.kill(*self.programs.names(""))
        if self._restore is None:
            self._restore = self._backups.enter_context(backup(self.programs.folder))
        else:
            self._restore()
            self._restore = None
            self._backups.close()
            Collection.objects.update(complete_until=F("complete_until") - timedelta(hours=1))
            self.done["restored"] += 1
        self.programs.start()


def _after(seconds: float) -> Callable[[], bool]:
    then = time.monotonic() + seconds
    return lambda: time.monotonic() >= then


# ── What must hold ───────────────────────────────────────────────────────────


@pytest.fixture
def redis_road() -> Iterator[Proxy]:
    with speak_to_redis_over() as road:
        yield road


def test_whatever_breaks_each_job_is_sent_and_charged_once(
    world: World, road: Proxy, redis_road: Proxy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        print(f"\nFIREFLY_CHAOS_SEED={SEED} FIREFLY_CHAOS_MINUTES={MINUTES:g}")
    worlds = [world, make_world(world.slurm)]
    draw = random.Random(SEED)  # noqa: S311  # no secret: a choice to be repeated
    with Programs(tmp_path, REDIS_URL=through(redis_road)) as programs:
        chaos = Chaos(worlds, programs, road, redis_road, draw)
        try:
            chaos.go_on(MINUTES * 60)
        finally:
            chaos.mend()
        chaos.let_end()

    corrected = LedgerEntry.objects.filter(reason=CORRECTED).values_list("usage_record", "gpu_seconds")
    print(chaos.done, Counter(Job.objects.values_list("state", "reason")))
    print(f"Corrected by the scheduler after the charge: {list(corrected)}")
    jobs = {job.token: job for job in Job.objects.all()}
    for world in worlds:
        sent_once(world, [token for whose, token in chaos.submitted if whose is world], jobs, chaos.cancelled)
        charged_as_slurm_says(world)
    assert balance_checks.found() == []
    if not chaos.done["restored"]:
        assert jobs.keys() == {token for _world, token in chaos.submitted}


def sent_once(world: World, tokens: list[str], jobs: dict[str, Job], cancelled: set[str]) -> None:
    """`cancelled`: the tokens that were wanted so; a restored database may have forgotten that."""
    sent = in_slurm(world)
    for token in tokens:
        job = jobs.get(token)
        if job is None:  # its submission was lost with the restored database
            assert token not in sent
            continue
        assert sent.get(token, []) == ([job.scheduler_id] if job.scheduler_id else [])
        wanted = {State.CANCELLED, State.SUCCEEDED} if token in cancelled else {State.SUCCEEDED}
        assert job.state in wanted or job.found_at, f"{job.state} {job.reason} {job.message}"
    assert sent.keys() <= set(tokens)


def charged_as_slurm_says(world: World) -> None:
    now = ledger.balance(world.allocation)
    assert now.held == 0
    assert now.used == world.slurm.held(world.project.account)
    records = UsageRecord.objects.filter(project=world.project)
    assert sorted(records.values_list("identity", flat=True)) == sorted(indexes(world))
    assert not_charged_once(records) == []
