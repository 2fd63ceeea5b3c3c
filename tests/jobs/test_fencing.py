"""What the scheduler's limits should be, for every turn of the ledger. On a scheduler that only counts; the real one
keeps the same promises in tests/cluster/test_fences_on_slurm.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import cast

import pytest
from django.utils import timezone

from accounting import ledger, usage
from accounting.models import SHUT, Allocation, Cluster, Collection, Fence, Partition, allocation_named
from accounting.runs import Run
from jobs import fencing
from jobs.attributing import attribution
from jobs.clusters import Door
from jobs.models import ClusterHealth, Job
from jobs.schedulers import AnswerError, Call
from jobs.schedulers.slurm import Slurm
from jobs.spec import AccountSeen, BudgetSeen, FencesSeen
from portal.models import Project, User
from tests.factories import (
    AllocationFactory,
    ChargeFactorFactory,
    ClusterAccountFactory,
    HoldFactory,
    JobFactory,
    ProjectFactory,
    RunFactory,
)

pytestmark = pytest.mark.django_db

HOUR = 3600


@dataclass
class Site:
    name: str = "firefly"
    fencer: str = "fp-fencer"
    scheduler: Slurm = field(default_factory=Slurm)


@dataclass
class Scheduler:
    """Stands where the cluster's door is: limits and counts of budgets, and accounts that may use some."""

    site: Site = field(default_factory=Site)
    budgets: dict[str, BudgetSeen] = field(default_factory=dict)
    accounts: dict[str, AccountSeen] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    refuses: str = ""
    trouble: Exception | None = None
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __enter__(self) -> Scheduler:
        return self

    def __exit__(self, *_: object) -> None: ...

    def fences(self, accounts: Sequence[str], changes: Sequence[Call] = ()) -> tuple[list[str], FencesSeen]:
        if self.trouble:
            raise self.trouble
        said = [self._made(call) for call in changes]
        there = {name: seen for name, seen in self.accounts.items() if name in accounts}
        return said, FencesSeen(dict(self.budgets), there, self.now)

    def _made(self, call: Call) -> str:
        self.calls.append(call)
        if self.refuses:
            return self.refuses
        if call.verb == "sacctmgr-qos":
            name, minutes = call.args
            before = self.budgets.get(name, BudgetSeen(None, 0, 0, True))
            self.budgets[name] = replace(before, limit=int(minutes), keeps=True)
        else:
            _cluster, account, *names = call.args
            self.accounts[account] = AccountSeen(frozenset(names), names[0], True)
        return ""

    def counts(self, name: str, used: int, running: int = 0) -> None:
        self.budgets[name] = replace(self.budgets[name], used=used, running=running)


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch, project: Project) -> Scheduler:
    scheduler = Scheduler(accounts={project.account: AccountSeen(frozenset({"normal"}), "normal", True)})
    monkeypatch.setattr(fencing, "connect_to", lambda _name: scheduler)
    return scheduler


@pytest.fixture
def small(project: Project, firefly: Cluster, a100: Partition) -> Allocation:
    """100 GPU-hours."""
    return AllocationFactory.create(project=project, cluster=firefly, gpu_hours=100)


def keep(allocation: Allocation) -> Fence:
    fencing.keep(allocation.cluster_id)
    return Fence.objects.get(allocation=allocation)


def charged(allocation: Allocation, gpu_seconds: int, *, qos: str = "", start: datetime | None = None) -> Run:
    """A run of one GPU that ended and is in the ledger."""
    began = start or timezone.now().replace(microsecond=0)
    run: Run = RunFactory.build(
        cluster=allocation.cluster.name, account=allocation.project.account, partition="a100",
        qos=qos or f"al-{allocation.pk}", gpus=1, gpus_by_type=(), start=began, submit=began,
        end=began + timedelta(seconds=gpu_seconds),
    )  # fmt: skip
    attribute = partial(attribution, allocation.cluster)
    as_of = began + timedelta(days=30)
    usage.record_runs([run], cluster=allocation.cluster, as_of=as_of, in_queue=(), attribute=attribute)
    return run


def all_recorded(cluster: Cluster, until: datetime) -> None:
    Collection.objects.update_or_create(cluster=cluster, defaults={"complete_until": until})


# ── Placed ───────────────────────────────────────────────────────────────────


def test_a_new_allocation_gets_a_budget_of_its_own_and_its_account_no_other(
    slurm: Scheduler, small: Allocation
) -> None:
    fence = keep(small)
    name = f"al-{small.pk}"
    assert slurm.budgets[name].limit == fence.intended_minutes == fence.seen_minutes == 6000
    assert slurm.accounts[small.project.account] == AccountSeen(frozenset({name}), name, True)
    assert fence.is_placed and fence.trouble == "" and fence.confirmed_at == fence.seen_at == slurm.now
    assert allocation_named(name) == small.pk


def test_a_second_look_changes_nothing(slurm: Scheduler, small: Allocation) -> None:
    keep(small)
    slurm.calls.clear()
    keep(small)
    assert slurm.calls == []


def test_one_that_has_not_begun_waits_for_its_day(slurm: Scheduler, small: Allocation) -> None:
    Allocation.objects.update(start=timezone.now().date() + timedelta(days=1))
    fencing.keep(small.cluster_id)
    assert not Fence.objects.exists()
    assert slurm.accounts[small.project.account].names == {SHUT}


def test_an_account_that_was_not_made_yet_is_no_trouble(slurm: Scheduler, small: Allocation) -> None:
    slurm.accounts.clear()
    fence = keep(small)
    assert (fence.is_placed, fence.trouble, fence.seen_minutes) == (False, "", 6000)


def test_projects_without_hours_run_nothing(
    slurm: Scheduler, small: Allocation, folding: object, mei: User
) -> None:
    other = ProjectFactory.create()
    account = ClusterAccountFactory.create(user=mei, cluster=small.cluster)
    account.associations.create(project=other)
    slurm.accounts[other.account] = AccountSeen(frozenset({"normal"}), "normal", True)
    keep(small)
    assert slurm.accounts[other.account].default == SHUT
    assert slurm.budgets[SHUT].limit == 0


def test_two_allocations_are_both_allowed_and_the_first_to_end_is_the_default(
    slurm: Scheduler, small: Allocation, sam: User
) -> None:
    later = AllocationFactory.create(
        project=small.project, cluster=small.cluster, end=small.end + timedelta(days=60), gpu_hours=10
    )
    keep(small)
    seen = slurm.accounts[small.project.account]
    assert seen.default == f"al-{small.pk}"
    assert seen.names == {f"al-{small.pk}", f"al-{later.pk}"}
    ledger.adjust(small, -100 * HOUR, by=sam, reason="Moved.")
    keep(small)
    assert slurm.accounts[small.project.account].default == f"al-{later.pk}"


# ── In step ──────────────────────────────────────────────────────────────────


def test_running_jobs_and_charges_move_nothing(slurm: Scheduler, small: Allocation) -> None:
    """What the scheduler has counted and the ledger not yet is neither given twice nor taken twice."""
    keep(small)
    slurm.counts(f"al-{small.pk}", 100, running=1)
    assert keep(small).intended_minutes == 6000
    charged(small, 120 * 60)
    assert keep(small).intended_minutes == 6000
    slurm.counts(f"al-{small.pk}", 120)
    assert keep(small).intended_minutes == 6000


def test_where_nothing_runs_the_schedulers_count_is_the_base(slurm: Scheduler, small: Allocation) -> None:
    """It counts 5 minutes fewer than the ledger charges: suspended ones, say."""
    keep(small)
    charged(small, 60 * 60)
    slurm.counts(f"al-{small.pk}", 55)
    slurm.now += timedelta(hours=2)
    fence = keep(small)
    assert (fence.base_seconds, fence.intended_minutes) == (55 * 60, 55 + 6000 - 60)


def test_seconds_are_kept_while_the_minutes_agree(slurm: Scheduler, small: Allocation) -> None:
    """The scheduler prints whole minutes. Of the 100 hours 90 s ran: 5,998 minutes are left, and it counts one."""
    keep(small)
    charged(small, 90)
    slurm.counts(f"al-{small.pk}", 1)
    slurm.now += timedelta(hours=2)
    all_recorded(small.cluster, slurm.now + timedelta(hours=1))
    for _ in range(3):
        fence = keep(small)
        assert fence.intended_minutes == 1 + 5998
    assert fence.base_seconds == 90  # a base is taken once in a while, with the seconds
    charged(small, 30, start=slurm.now.replace(microsecond=0) + timedelta(minutes=1))
    slurm.counts(f"al-{small.pk}", 2)
    assert keep(small).intended_minutes == 2 + 5998


def test_what_is_not_recorded_yet_makes_no_base(slurm: Scheduler, small: Allocation) -> None:
    keep(small)
    slurm.counts(f"al-{small.pk}", 55)
    all_recorded(small.cluster, slurm.now)
    for _ in range(3):
        assert keep(small).base_seconds == 0
    all_recorded(small.cluster, slurm.now + timedelta(minutes=1))
    assert keep(small).base_seconds == 55 * 60


def test_a_count_that_was_reset_is_the_base(slurm: Scheduler, small: Allocation) -> None:
    keep(small)
    charged(small, 60 * 60)
    slurm.counts(f"al-{small.pk}", 60)
    assert keep(small).intended_minutes == 6000
    slurm.counts(f"al-{small.pk}", 0)
    slurm.now += timedelta(hours=2)
    assert keep(small).intended_minutes == 5940


@pytest.mark.parametrize("hours", [7, -7])
def test_what_is_given_and_taken_moves_the_limit(
    slurm: Scheduler, small: Allocation, sam: User, hours: int
) -> None:
    keep(small)
    ledger.adjust(small, hours * HOUR, by=sam, reason="So.")
    assert keep(small).seen_minutes == 6000 + hours * 60


def test_debts_leave_no_room(slurm: Scheduler, small: Allocation, sam: User) -> None:
    keep(small)
    ledger.adjust(small, -200 * HOUR, by=sam, reason="So.")
    assert keep(small).seen_minutes == 0


def held_job(allocation: Allocation, partition: Partition, minutes: int, gpu_seconds: int) -> Job:
    job = JobFactory.create(
        allocation=allocation, project=allocation.project, partition=partition, cluster=allocation.cluster,
        gpus=1, time_limit_minutes=minutes,
    )  # fmt: skip
    HoldFactory.create(allocation=allocation, reference=job.token, gpu_seconds=gpu_seconds)
    return job


def test_a_hold_where_it_is_cheap_makes_room_for_what_its_job_may_run(
    slurm: Scheduler, small: Allocation, a100: Partition, a100_preemptible: Partition
) -> None:
    assert keep(small).intended_minutes == 6000  # what nobody holds counts as where it is dearest
    held_job(small, a100_preemptible, minutes=6000, gpu_seconds=50 * HOUR)
    assert keep(small).intended_minutes == 6000 + 3000


def test_where_it_is_dear_free_hours_buy_less(
    slurm: Scheduler, small: Allocation, a100_preemptible: Partition
) -> None:
    ChargeFactorFactory.create(partition=a100_preemptible, factor=Decimal(4), valid_from=timezone.now())
    assert keep(small).intended_minutes == 1500


@pytest.mark.parametrize("ended", ["suspended", "expired", "closed"])
def test_what_has_its_hold_still_runs_and_nothing_else(
    slurm: Scheduler, small: Allocation, a100: Partition, ended: str
) -> None:
    keep(small)
    held_job(small, a100, minutes=30, gpu_seconds=30 * 60)
    yesterday = timezone.now().date() - timedelta(days=1)
    if ended == "suspended":
        Allocation.objects.update(suspended_at=timezone.now(), suspension_reason="Mining.")
    elif ended == "expired":
        Allocation.objects.update(end=yesterday, usable_until=yesterday)
    else:
        Project.objects.update(state=Project.State.CLOSED)
    assert keep(small).seen_minutes == 30


def test_a_settled_allocation_gives_its_account_nothing(slurm: Scheduler, small: Allocation) -> None:
    keep(small)
    Allocation.objects.update(settled_at=timezone.now())
    keep(small)
    assert slurm.accounts[small.project.account].names == {SHUT}


# ── Hands on it, and doubt ───────────────────────────────────────────────────


def test_what_somebody_changed_is_put_back(slurm: Scheduler, small: Allocation) -> None:
    name = f"al-{small.pk}"
    keep(small)
    slurm.budgets[name] = BudgetSeen(None, 0, 0, False)
    slurm.accounts[small.project.account] = AccountSeen(frozenset({name}), name, False)
    assert keep(small).trouble == ""
    assert slurm.budgets[name] == BudgetSeen(6000, 0, 0, True)
    assert slurm.accounts[small.project.account].alike


def test_a_refusal_is_told_and_the_last_good_look_stays(
    slurm: Scheduler, small: Allocation, sam: User
) -> None:
    confirmed = keep(small).confirmed_at
    slurm.refuses = "Access/permission denied"
    slurm.now += timedelta(minutes=1)
    ledger.adjust(small, HOUR, by=sam, reason="So.")
    fence = keep(small)
    assert (fence.trouble, fence.seen_minutes, fence.intended_minutes) == (
        *("Access/permission denied", 6000, 6060),
    )
    assert fence.confirmed_at == confirmed and fence.seen_at == slurm.now
    slurm.refuses = ""
    assert keep(small).trouble == ""


def test_a_bad_answer_changes_nothing_but_is_told(slurm: Scheduler, small: Allocation) -> None:
    before = keep(small)
    slurm.trouble = AnswerError("slurmdbd is away", transient=True)
    fence = keep(small)
    assert fence.trouble == "slurmdbd is away"
    assert (fence.seen_minutes, fence.seen_at, fence.is_placed) == (before.seen_minutes, before.seen_at, True)


def test_without_a_fencer_nothing_is_done_and_it_is_known(slurm: Scheduler, small: Allocation) -> None:
    slurm.site.fencer = ""
    fencing.keep(small.cluster_id)
    assert ClusterHealth.objects.get(cluster=small.cluster).fenced is False
    assert slurm.calls == []


# ── Sending and charging ─────────────────────────────────────────────────────


def budgets_for(slurm: Scheduler, job: Job) -> dict[int, str]:
    return fencing.budgets_for(cast("Door", slurm), job.cluster, [job])


def test_a_job_names_the_budget_of_its_allocation(
    slurm: Scheduler, small: Allocation, a100: Partition
) -> None:
    job = held_job(small, a100, minutes=30, gpu_seconds=1800)
    budgets = budgets_for(slurm, job)
    assert budgets == {job.pk: f"al-{small.pk}"}


def test_where_no_budget_could_be_placed_it_is_sent_as_ever(
    slurm: Scheduler, small: Allocation, a100: Partition
) -> None:
    job = held_job(small, a100, minutes=30, gpu_seconds=1800)
    slurm.trouble = AnswerError("permission denied", transient=True)
    assert budgets_for(slurm, job) == {job.pk: ""}


def test_where_its_account_is_on_others_it_waits(
    slurm: Scheduler, small: Allocation, a100: Partition
) -> None:
    keep(small)
    later = AllocationFactory.create(project=small.project, cluster=small.cluster)
    job = held_job(later, a100, minutes=30, gpu_seconds=1800)
    slurm.trouble = AnswerError("slurmdbd is away", transient=True)
    assert budgets_for(slurm, job) == {}


def test_who_goes_past_the_portal_is_charged_to_the_budget_that_they_named(
    small: Allocation, slurm: Scheduler
) -> None:
    later = AllocationFactory.create(
        project=small.project, cluster=small.cluster, end=small.end + timedelta(days=60)
    )
    charged(small, 60, qos=f"al-{later.pk}")
    assert (ledger.balance(small).used, ledger.balance(later).used) == (0, 60)


def test_a_name_that_is_another_projects_is_no_claim_on_its_hours(
    small: Allocation, slurm: Scheduler
) -> None:
    theirs = AllocationFactory.create(cluster=small.cluster)
    charged(small, 60, qos=f"al-{theirs.pk}")
    assert (ledger.balance(small).used, ledger.balance(theirs).used) == (60, 0)


@pytest.mark.parametrize(
    "name", ["", "normal", "al-", "al-0", "al-07", "al-x", "bal-7", "al-7\n", "al-" + "9" * 19]
)
def test_other_names_are_no_budgets(name: str) -> None:
    assert allocation_named(name) is None
