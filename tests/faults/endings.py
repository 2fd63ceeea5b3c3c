"""How every fault has to end: one job for a submission, one charge for a run, and nothing stuck."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import timedelta

from django.db.models import Sum
from django.utils import timezone

from accounting import ledger
from accounting.ledger import CORRECTED
from accounting.models import LedgerEntry, UsageRecord
from jobs import dispatch
from jobs.dispatch import GRACE, STALE
from jobs.models import ClusterHealth, Job
from jobs.states import State
from tests.cluster.one_machine import until
from tests.cluster.world import World

ONE_SECOND = timedelta(seconds=1)
CHARGE = LedgerEntry.Kind.CHARGE.value


def state_of(job: Job) -> str:
    return Job.objects.get(pk=job.pk).state


def marked(world: World, job: Job, mark: str) -> bool:
    """Whether the gateway left that mark in the job's folder."""
    folder = world.slurm.root / "home" / world.account.username / "firefly" / job.token
    return world.slurm.exec(["test", "-e", str(folder / mark)]).returncode == 0


def time_passes(*jobs: Job) -> None:
    """Claims grow stale, the grace time and every pause pass."""
    for field, span in (("claimed_at", STALE), ("looked_up_at", GRACE)):
        these = Job.objects.filter(pk__in=[job.pk for job in jobs], **{f"{field}__isnull": False})
        these.update(**{field: timezone.now() - span - ONE_SECOND})
    Job.objects.filter(pk__in=[job.pk for job in jobs]).update(not_before=None)
    ClusterHealth.objects.update(try_again_at=None)


def recover(world: World, *jobs: Job) -> None:
    """What the sweep rings, again and again, until the scheduler has the jobs."""

    def look() -> bool:
        time_passes(*jobs)
        dispatch.resolve_unclear(world.cluster.pk)
        time_passes(*jobs)
        dispatch.send_waiting(world.cluster.pk)
        return not Job.objects.filter(pk__in=[job.pk for job in jobs]).unsent().exists()

    until(look, 60)


def exactly_one(world: World, *jobs: Job, ended: str = State.SUCCEEDED, seconds: float = 60) -> None:
    """Each ends so, was one job of the scheduler's, and the ledger says what the scheduler's records say."""
    for job in jobs:
        world.poll_until(job, lambda job: job.is_final, seconds)
        assert (job.state, job.reason) in {(ended, job.reason)}, (
            f"{job.state} {job.reason} {job.exit_code} {job.message}"
        )
    sent = in_slurm(world)
    for job in jobs:
        assert sent.get(job.token, []) == [job.scheduler_id]
    nothing_stuck_nothing_twice(world)


def in_slurm(world: World) -> dict[str, list[str]]:
    """Whatever was ever submitted on the project's account: ids, by name."""
    account = world.project.account
    said = world.slurm.said(
        *("sacct", "-a", "-X", "-n", "-P", "-S", "now-1day", f"--accounts={account}"),
        "-o",
        "JobName,JobIDRaw",
    )
    found: dict[str, set[str]] = {}
    for line in said.splitlines():
        name, _, number = line.rpartition("|")
        found.setdefault(name, set()).add(number)
    return {name: sorted(numbers) for name, numbers in found.items()}


def nothing_stuck_nothing_twice(world: World) -> None:
    """No hold is left; each record is charged once; used is what the scheduler says was held."""
    assert not Job.objects.unfinished().filter(project=world.project).exists()
    now = ledger.balance(world.allocation)
    assert now.held == 0
    assert now.used == world.slurm.held(world.project.account)
    records = UsageRecord.objects.filter(project=world.project)
    assert sorted(records.values_list("identity", flat=True)) == sorted(indexes(world))
    assert not_charged_once(records) == []
    assert now.used == (records.aggregate(sum=Sum("gpu_seconds"))["sum"] or 0)


def not_charged_once(records: Iterable[UsageRecord]) -> list[str]:
    """The runs of which the entries are not one charge of what they held, at the price of one.

    Where the scheduler changed its record after the charge, a correction stands beside it.
    """
    entries: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for entry in LedgerEntry.objects.filter(usage_record__in=records).order_by("pk"):
        entries[entry.usage_record_id or 0].append((entry.reason or entry.kind, -entry.gpu_seconds))
    return [
        f"{record} held {record.gpu_seconds} GPU-seconds, and was charged {entries[record.pk]}"
        for record in records
        if sum(gpu_seconds for _what, gpu_seconds in entries[record.pk]) != record.gpu_seconds
        or [what for what, _gpu_seconds in entries[record.pk] if what != CORRECTED] not in ([], [CHARGE])
    ]


def indexes(world: World) -> set[str]:
    """The numbers of the scheduler's records on the project's account."""
    said = world.slurm.said(
        *("sacct", "-a", "-X", "-D", "-n", "-P", "-S", "now-1day", f"--accounts={world.project.account}"),
        *("-o", "DBIndex"),
    )
    return set(said.split())
