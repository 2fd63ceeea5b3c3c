"""How much may each allocation still run through the scheduler? The ledger's answer, in GPU-seconds of any GPU.

    room = what jobs with a hold may run + available / the dearest price, while new jobs may begin

The scheduler counts GPU-seconds and knows no price. So a hold counts as what its job may run, and no held job is
stopped; what nobody holds counts as what it buys where it is dearest, and nobody runs up a debt with it. Both are
reckoned anew with every charge: whoever ran where it is cheap gets the rest of it back.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal

from accounting import ledger
from accounting.models import Allocation, Cluster, Fence, Hold, Partition, budget_name
from accounting.models.fences import FenceQuerySet
from jobs.models import Job
from portal.models import Project

OVERLAP = timedelta(minutes=5)  # a row may stand so long after the time that is written in it
AT_LEAST = timedelta(hours=1)  # prices change by the calendar, without any row of the ledger


def make_missing(cluster: Cluster, today: date) -> None:
    """A fence for each allocation that has begun."""
    begun = Allocation.objects.unsettled().filter(cluster=cluster, start__lte=today, fence=None)
    new = [Fence(allocation=one, qos=budget_name(one.pk)) for one in begun]
    Fence.objects.bulk_create(new, ignore_conflicts=True)


def fences(cluster: Cluster, projects: Collection[int] | None = None) -> FenceQuerySet:
    """Those in force, of some projects or of all."""
    found = Fence.objects.on(cluster).select_related("allocation__project")
    return found if projects is None else found.filter(allocation__project__in=projects)


def reckon(cluster: Cluster, of: Sequence[Fence], now: datetime) -> None:
    """Bring room and intended limit up to the ledger. `of`: with their news, read a moment ago; saves nothing."""
    today = now.date()
    stale = [fence for fence in of if _is_stale(fence, now)]
    balances = ledger.balances([fence.allocation for fence in stale])
    held = _held(stale)
    price = _dearest(cluster, now)
    for fence in stale:
        fence.is_open = _is_open(fence.allocation, today)
        free = max(balances[fence.allocation_id].available, 0) if fence.is_open else 0
        fence.room_seconds = held[fence.allocation_id] + int(free / price)
        fence.reckoned_from = now - OVERLAP
    for fence in of:
        fence.intended_minutes = fence.counted_seconds // 60 + fence.room_seconds // 60


def _is_stale(fence: Fence, now: datetime) -> bool:
    return (
        fence.has_news
        or fence.reckoned_from is None
        or fence.reckoned_from < now - AT_LEAST
        or fence.is_open != _is_open(fence.allocation, now.date())
    )


def _is_open(allocation: Allocation, today: date) -> bool:
    return allocation.is_active(today) and allocation.project.state == Project.State.ACTIVE


def _held(of: Iterable[Fence]) -> dict[int, int]:
    """What jobs with an open hold may run, by allocation. A hold that was made larger says more than its job does."""
    ids = [fence.allocation_id for fence in of]
    holds = dict(Hold.objects.open().filter(allocation__in=ids).values_list("reference", "gpu_seconds"))
    jobs = Job.objects.filter(allocation__in=ids).unfinished()
    raw: dict[int, int] = defaultdict(int)
    for job in jobs.select_related("partition").prefetch_related("partition__factors"):
        if job.token in holds:
            factor = job.partition.factor_at(job.created_at)
            paid_for = int(holds[job.token] / factor) if factor else 0
            raw[job.allocation_id] += max(job.gpus * job.time_limit_minutes * 60, paid_for)
    return raw


def _dearest(cluster: Cluster, now: datetime) -> Decimal:
    """The highest price of the cluster's partitions. Where all is free, hours count as if it were not."""
    partitions = Partition.objects.filter(cluster=cluster).prefetch_related("factors")
    return max((partition.factor_at(now) for partition in partitions), default=Decimal(0)) or Decimal(1)
