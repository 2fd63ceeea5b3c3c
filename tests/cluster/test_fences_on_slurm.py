"""The hard stop, on a real Slurm: whoever goes past the portal has the same hours as everybody, and no more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone
from pytest_django.fixtures import Settings

from accounting import ledger, lifetimes
from accounting.actions.allocations import resume, suspend
from accounting.models import SHUT, Allocation, Fence, LedgerEntry
from jobs import dispatch, fencing, provisioning, sync
from jobs.models import ClusterHealth, Job
from jobs.states import State
from portal.models import Role, User
from tests.cluster.one_machine import SlurmCluster, until
from tests.cluster.world import World, account_asked_for, make_world
from tests.factories import AllocationFactory, MembershipFactory, UserFactory

pytestmark = [pytest.mark.cluster, pytest.mark.django_db(transaction=True)]

LONG = "#!/bin/bash\nsleep 300\n"
STOPPED = "QOSGrpGRESMinutes"


@pytest.fixture
def world(slurm_cluster: SlurmCluster, on_cluster: None) -> Iterator[World]:
    """One GPU-hour, known to the scheduler; at the end, nothing of it is left in the queue."""
    made = make_world(slurm_cluster, gpu_hours=1)
    forget_what_ran(slurm_cluster)
    keep(made)
    yield made
    slurm_cluster.exec(["scancel", f"--account={made.project.account}"])
    until(lambda: not slurm_cluster.said("squeue", "-h", "-A", made.project.account))


@pytest.fixture
def sam(db: None) -> User:
    user = UserFactory.create(name="Sam Weber")
    MembershipFactory.create(user=user, role=Role.STAFF)
    return user


def forget_what_ran(slurm: SlurmCluster) -> None:
    """The scheduler remembers what ran on an allocation's number, and other databases have had the same numbers."""
    names = slurm.said("sacctmgr", "-nP", "show", "qos", "format=name").split()
    ours = ",".join(name for name in names if name.startswith("al-"))
    if ours:
        slurm.said("sacctmgr", "-i", "modify", "qos", "where", f"name={ours}", "set", "RawUsage=0")


def fence(world: World, allocation: Allocation | None = None) -> Fence:
    return Fence.objects.get(allocation=allocation or world.allocation)


def keep(world: World) -> Fence:
    """As the beat rings it: what ended is recorded, and the budgets follow."""
    sync.poll(world.cluster.pk)
    fencing.keep(world.cluster.pk)
    kept = fence(world)
    assert kept.trouble == ""
    return kept


def limit(world: World, qos: str) -> int:
    """GPU-minutes, as Slurm itself says."""
    said = world.slurm.said("sacctmgr", "-nP", "show", "qos", f"name={qos}", "format=grptresmins,flags")
    tres, flags = said.split("|")
    assert flags == "NoDecay"
    return int(tres.removeprefix("gres/gpu="))


def runs(world: World, job_id: str) -> None:
    until(lambda: world.in_queue(job_id)[0] == "RUNNING")


def stopped(world: World, job_id: str) -> None:
    until(lambda: world.in_queue(job_id)[:2] == ("PENDING", STOPPED))


def ended(world: World, *job_ids: str) -> None:
    """In the queue, and then in the ledger."""
    until(lambda: {world.in_queue(one)[0] for one in job_ids} <= {"COMPLETED", "CANCELLED"})

    def recorded() -> bool:
        sync.poll(world.cluster.pk)
        charged = LedgerEntry.objects.filter(usage_record__job_id_raw__in=job_ids, kind="charge")
        return charged.filter(allocation__project=world.project).count() == len(job_ids)

    until(recorded)


def in_account(world: World) -> set[tuple[str, str]]:
    """(QOS, default) of the account and of everybody in it."""
    said = world.slurm.said(
        *("sacctmgr", "-nP", "show", "assoc", f"account={world.project.account}", "format=qos,defaultqos")
    )
    return {(names, default) for names, default in (line.split("|") for line in said.splitlines())}


def second_allocation(world: World, gpu_hours: int = 1) -> Allocation:
    """A renewal, say: it ends later."""
    end = world.allocation.end + timedelta(days=30)
    return AllocationFactory.create(
        project=world.project,
        cluster=world.cluster,
        start=world.allocation.start,
        end=end,
        gpu_hours=gpu_hours,
    )


# ── Past the portal ──────────────────────────────────────────────────────────


def test_a_plain_sbatch_is_stopped_at_the_limit_and_what_ran_is_charged(world: World) -> None:
    ran = world.past_the_portal(20, "sleep 6", gpus=2)
    runs(world, ran)
    waits = world.past_the_portal(
        15, "sleep 1", gpus=2
    )  # 40 of 60 GPU-minutes may still be used: 30 are too many
    stopped(world, waits)
    too_large = world.past_the_portal(61)

    ended(world, ran, waits)  # there is room for it once the first one has given back what it did not use
    stopped(world, too_large)

    used = ledger.balance(world.allocation).used
    assert used == world.slurm.held(world.project.account) > 0
    # What ran is in the scheduler's count already; of the minute that it began nothing is given away.
    assert limit(world, keep(world).qos) == used // 60 + (3600 - used) // 60


def test_no_other_qos_is_accepted(world: World) -> None:
    others = ["normal", SHUT]
    for qos in others:
        done = world.slurm.exec(
            ["sbatch", f"--account={world.project.account}", f"--qos={qos}", "--wrap=true"],
            world.account.username,
        )
        assert "Invalid qos specification" in done.stderr, (qos, done)


def test_whoever_comes_later_has_the_same_budget(world: World) -> None:
    otto = UserFactory.create(name="Otto Brandt")
    MembershipFactory.create(user=otto, role=Role.MEMBER, lab=world.project.lab)
    account = account_asked_for(otto, world.cluster, world.project)
    until(lambda: provisioning.provision(account.pk))
    qos = fence(world).qos
    assert in_account(world) == {(qos, qos)}


# ── In step with the ledger ──────────────────────────────────────────────────


def test_a_job_of_the_portal_for_all_the_rest_runs_and_then_nothing_else_does(world: World) -> None:
    ended(world, world.past_the_portal(5, "sleep 7", gpus=3))
    before = keep(world)
    rest = ledger.balance(world.allocation).available
    assert 0 < rest < 3600
    job = world.submit(LONG, minutes=rest // 60)
    world.send()
    world.poll_until(job, lambda job: job.state == State.RUNNING)
    assert world.in_queue(job.scheduler_id)[2] == before.qos

    more = world.past_the_portal(1)
    stopped(world, more)
    for _ in range(2):
        assert abs(keep(world).intended_minutes - before.intended_minutes) <= 1
    stopped(world, more)


def test_the_rest_of_the_budget_waits_for_its_holder_while_others_try(world: World) -> None:
    """A job that holds hours is not stopped by those who hold none, though they came first."""
    first = world.past_the_portal(20)
    runs(world, first)
    job = world.submit(LONG, minutes=40)
    world.send()
    world.poll_until(job, lambda job: job.state == State.RUNNING)


def test_a_supplement_lets_the_waiting_job_run(world: World, sam: User) -> None:
    waits = world.past_the_portal(90)
    stopped(world, waits)
    ledger.adjust(world.allocation, 1800, by=sam, reason="A supplement.")
    assert keep(world).seen_minutes == 90
    runs(world, waits)


def test_hours_that_are_taken_away_stop_nobody_who_runs_and_everybody_after(world: World, sam: User) -> None:
    running = world.past_the_portal(30)
    runs(world, running)
    ledger.adjust(world.allocation, -3000, by=sam, reason="A mistake.")
    keep(world)
    stopped(world, world.past_the_portal(5))
    assert world.in_queue(running)[0] == "RUNNING"


def test_suspended_hours_start_nothing_new_but_what_has_its_hold(world: World, sam: User) -> None:
    job = world.submit(LONG, minutes=10)
    suspend(by=sam, allocation=world.allocation, reason="Mining.")
    assert keep(world).seen_minutes == 10
    stopped(world, world.past_the_portal(11))
    world.send()
    world.poll_until(job, lambda job: job.state == State.RUNNING)
    resume(by=sam, allocation=world.allocation)
    keep(world)
    runs(world, world.past_the_portal(11))


def test_after_its_end_nothing_runs_and_after_settling_there_is_no_budget(world: World) -> None:
    yesterday = timezone.now().date() - timedelta(days=1)
    Allocation.objects.update(start=yesterday, end=yesterday, usable_until=yesterday)
    kept = keep(world)
    assert kept.seen_minutes == kept.used_minutes
    stopped(world, world.past_the_portal(1))
    lifetimes.settle_ended(timezone.now().date())
    fencing.keep(world.cluster.pk)
    assert in_account(world) == {(SHUT, SHUT)}
    stopped(world, world.past_the_portal(1))


def test_a_price_counts_where_it_is_dearest_and_a_hold_runs_where_it_is_cheap(world: World) -> None:
    """Two of the same hours are charged as one on the cheap partition: a job may hold twice as many of them."""
    cheap, _ = world.cluster.partitions.get_or_create(
        name="a100-preemptible",
        defaults={
            "gpu_type": "a100",
            "node_count": 4,
            "gpus_per_node": 8,
            "cpus_per_gpu": 1,
            "memory_per_gpu_mib": 100,
            "max_time_minutes": 1000,
        },
    )
    cheap.factors.create(factor="0.5", valid_from=timezone.now() - timedelta(days=1))
    assert keep(world).seen_minutes == 60
    job = replace(world, partition=cheap).submit(LONG, minutes=120)
    assert ledger.balance(world.allocation).available == 0
    world.send()
    assert keep(world).seen_minutes == 120
    world.poll_until(job, lambda job: job.state == State.RUNNING)
    stopped(world, world.past_the_portal(1))


# ── Two allocations ──────────────────────────────────────────────────────────


def test_the_one_that_ends_first_is_the_default_and_the_other_one_may_be_named(world: World) -> None:
    second = second_allocation(world)
    keep(world)
    first, other = fence(world).qos, fence(world, second).qos
    assert {default for _, default in in_account(world)} == {first}
    plain, named = world.past_the_portal(1, "sleep 2"), world.past_the_portal(1, "sleep 2", qos=other)
    ended(world, plain, named)
    paid = dict(
        LedgerEntry.objects.filter(kind="charge").values_list("usage_record__job_id_raw", "allocation")
    )
    assert paid == {plain: world.allocation.pk, named: second.pk}


def test_a_job_runs_on_the_budget_of_the_allocation_that_holds_it(world: World) -> None:
    second = second_allocation(world, gpu_hours=3)
    job = world.submit(LONG, minutes=150)
    assert job.allocation == second
    world.send()  # the budget is placed on the way
    world.poll_until(job, lambda job: job.state == State.RUNNING)
    assert world.in_queue(job.scheduler_id)[2] == fence(world, second).qos


# ── Hands on it ──────────────────────────────────────────────────────────────


def test_what_somebody_changed_by_hand_is_put_back(world: World) -> None:
    qos = fence(world).qos
    root = ["sacctmgr", "-i", "modify"]
    world.slurm.said(*root, "qos", "where", f"name={qos}", "set", "flags=-1", "GrpTRESMins=gres/gpu=9999")
    world.slurm.said(*root, "account", "where", f"account={world.project.account}", "set", "qos+=normal")
    person = ["user", world.account.username, "where", f"account={world.project.account}"]
    world.slurm.said(*root, *person, "set", "qos+=normal", "defaultqos=normal")

    keep(world)

    assert limit(world, qos) == 60
    assert in_account(world) == {(qos, qos)}


def test_a_count_that_was_reset_gives_nobody_hours_twice(world: World) -> None:
    ended(world, world.past_the_portal(5, "sleep 25", gpus=8))
    kept = keep(world)
    assert kept.used_minutes and kept.used_minutes >= 3
    world.slurm.said("sacctmgr", "-i", "modify", "qos", kept.qos, "set", "RawUsage=0")
    until(lambda: keep(world).used_minutes == 0)
    assert limit(world, kept.qos) == ledger.balance(world.allocation).available // 60 < 58


def test_a_count_of_before_the_portal_is_the_base(world: World) -> None:
    """As after a restored database: the scheduler has counted what we no longer know of."""
    ended(world, world.past_the_portal(5, "sleep 20", gpus=8))
    kept = keep(world)
    Fence.objects.all().delete()
    again = keep(world)
    used = kept.used_minutes or 0
    assert again.base_seconds == used * 60 > 0
    assert again.seen_minutes == used + ledger.balance(world.allocation).available // 60


# ── Where the site forbids it ────────────────────────────────────────────────


@pytest.fixture
def no_fencer(world: World, settings: Settings, tmp_path: Path) -> None:
    text = Path(settings.CLUSTERS_FILE).read_text()
    settings.CLUSTERS_FILE = tmp_path / "clusters.toml"
    lines = [line for line in text.splitlines() if not line.startswith("fencer")]
    settings.CLUSTERS_FILE.write_text("\n".join(lines) + "\n")


def test_without_a_fencer_jobs_are_sent_and_the_portal_says_so(world: World, no_fencer: None) -> None:
    account = world.project.account
    world.slurm.said("sacctmgr", "-i", "modify", "account", account, "set", "qos=normal", "defaultqos=normal")
    fencing.keep(world.cluster.pk)
    assert ClusterHealth.objects.get(cluster=world.cluster).fenced is False
    job = world.submit(LONG)
    world.send()
    world.poll_until(job, lambda job: job.state == State.RUNNING)
    assert world.in_queue(job.scheduler_id)[2] == "normal"


def test_a_budget_that_is_not_placed_yet_keeps_its_job_waiting(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its account may use other budgets alone: sent without a name, the job would run on one of those."""
    second_allocation(world, gpu_hours=3)
    job = world.submit(LONG, minutes=150)
    monkeypatch.setattr(fencing, "_try_cycle", lambda *_: None)
    dispatch.send_waiting(world.cluster.pk)
    assert Job.objects.get(pk=job.pk).state == State.NEW
    monkeypatch.undo()
    dispatch.send_waiting(world.cluster.pk)
    assert Job.objects.get(pk=job.pk).state == State.QUEUED
