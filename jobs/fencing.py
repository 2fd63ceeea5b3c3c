"""Worker side: keep each allocation's budget in the scheduler in step with the ledger, and its account on no other.

One cycle: look at all budgets, reckon what they should be, change what differs, look again, and keep both figures.
A cycle that is interrupted, or meets another, is made good by the next. Where the site has no fencer, nothing is
done, and the portal is the only fence.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_noop

from accounting.models import SHUT, Cluster, Fence
from accounting.models import Collection as Watermark
from jobs import fence_limits, health
from jobs.clusters import Door, connect_to
from jobs.models import ClusterHealth, Job
from jobs.schedulers import AnswerError, Call
from jobs.spec import AccountSeen, ClusterError, FencesSeen
from portal.models import Project

log = logging.getLogger(__name__)

LAG = timedelta(seconds=20)  # the scheduler's accounting lags its queue by less
OFTEN = timedelta(hours=1)  # a base is taken anew, so that what ran since stays a short list
KEPT = (
    *("based_at", "base_seconds", "quiet_since", "room_seconds", "is_open", "reckoned_from"),
    *("intended_minutes", "seen_minutes", "used_minutes", "is_placed", "trouble"),
)
STILL_OTHER = gettext_noop("The scheduler took the change and still says otherwise.")

Names = Mapping[str, Sequence[str]]  # by account: the budgets that it may use, the default first


def keep(cluster_id: int) -> None:
    """One cycle for all of a cluster's budgets."""
    cluster = health.to_try(cluster_id)
    if cluster is None:
        return
    try:
        with connect_to(cluster.name) as door:
            fenced = bool(door.site.fencer)
            ClusterHealth.objects.filter(pk=health.of(cluster_id).pk).update(fenced=fenced)
            if fenced:
                _cycle(door, cluster)
    except ClusterError as error:
        log.warning("cluster %s: its budgets could not be kept: %s", cluster.name, error)
        Fence.objects.on(cluster).update(trouble=str(error)[:300])


def keep_project(door: Door, cluster: Cluster, project: Project) -> None:
    """Before anybody is let into its account. What goes wrong is told to the staff by the next cycle."""
    _try_cycle(door, cluster, {project.pk})


def budgets_for(door: Door, cluster: Cluster, jobs: Sequence[Job]) -> dict[int, str]:
    """By the pk of each job that can be sent now: the budget to name, "" where its account knows none.

    A job that isn't there has to wait: its account may use other budgets, and its own isn't placed yet.
    """
    if not door.site.fencer:
        return dict.fromkeys((job.pk for job in jobs), "")
    placed = _placed(jobs)
    missing = {job.project_id for job in jobs if job.allocation_id not in placed}
    if missing:
        _try_cycle(door, cluster, missing)
        placed = _placed(jobs)
    if all(job.allocation_id in placed for job in jobs):
        return {job.pk: placed[job.allocation_id] for job in jobs}
    fenced = set(
        Fence.objects.on(cluster).filter(is_placed=True).values_list("allocation__project", flat=True)
    )
    return {
        job.pk: placed.get(job.allocation_id, "")
        for job in jobs
        if job.allocation_id in placed or job.project_id not in fenced
    }


def _placed(jobs: Sequence[Job]) -> dict[int, str]:
    ids = {job.allocation_id for job in jobs}
    return dict(Fence.objects.filter(allocation__in=ids, is_placed=True).values_list("allocation", "qos"))


def _try_cycle(door: Door, cluster: Cluster, projects: Collection[int]) -> None:
    if not door.site.fencer:
        return
    try:
        _cycle(door, cluster, projects)
    except AnswerError as error:
        log.warning("cluster %s: budgets of projects could not be kept: %s", cluster.name, error)


# ── One cycle ────────────────────────────────────────────────────────────────


def _cycle(door: Door, cluster: Cluster, projects: Collection[int] | None = None) -> None:
    now = timezone.now()
    fence_limits.make_missing(cluster, now.date())
    accounts = _accounts(cluster, projects)
    asked = sorted(accounts.values())
    if not asked:
        return
    _, seen = door.fences(asked)
    _take_bases(cluster, fence_limits.fences(cluster, projects).with_news(), seen)
    fences = list(fence_limits.fences(cluster, projects).with_news())
    before = {fence.pk: _values(fence) for fence in fences}
    fence_limits.reckon(cluster, fences, now)
    names = _names(accounts, fences)
    changes = list(_changes(door, fences, names, seen))
    said: dict[str, str] = {}
    if changes:
        refusals, seen = door.fences(asked, [call for _, call in changes])
        said = {subject: words for (subject, _), words in zip(changes, refusals, strict=True) if words}
    for fence in fences:
        _note(fence, names, seen, said)
    _save(fences, before, seen.at)


def _accounts(cluster: Cluster, projects: Collection[int] | None) -> dict[int, str]:
    """Of projects with hours on the cluster, now or once, and of those whose people may run there."""
    here = Q(allocations__cluster=cluster) | Q(associations__account__cluster=cluster)
    some = Q() if projects is None else Q(pk__in=projects)
    return dict(Project.objects.filter(here, some).order_by().distinct().values_list("pk", "account"))


def _take_bases(cluster: Cluster, fences: Iterable[Fence], seen: FencesSeen) -> None:
    watermark = Watermark.objects.filter(cluster=cluster).first()
    for fence in fences:
        before = _values(fence)
        _take_base(fence, seen, watermark.complete_until if watermark else None)
        if _values(fence) != before:
            fence.save(update_fields=["based_at", "base_seconds", "quiet_since", "used_minutes"])


def _take_base(fence: Fence, seen: FencesSeen, complete_until: datetime | None) -> None:
    """Where nothing runs and all that ran is recorded, the scheduler's count is right, and ours is made to agree.

    It prints whole minutes. So seconds that we know are kept while the minutes agree. A count below what was recorded
    was set to 0, has lost its last minutes in a crash, or leaves out suspended ones: that needs no waiting for records.
    """
    budget = seen.budgets.get(fence.qos)
    used, running = (budget.used, budget.running) if budget else (0, 0)
    counted = fence.counted_seconds // 60
    is_less = used < fence.base_seconds // 60 if running else used + 1 < counted
    if fence.based_at is None or budget is None or is_less:
        fence.take_base(used * 60, seen.at)
    if running:
        fence.quiet_since = None
    elif fence.quiet_since is None or used != fence.used_minutes:
        fence.quiet_since = seen.at
    elif complete_until and complete_until > fence.quiet_since + LAG:
        if counted != used:
            fence.take_base(used * 60, fence.quiet_since)
        elif fence.based_at and fence.quiet_since - fence.based_at > OFTEN:
            fence.take_base(fence.base_seconds + fence.ran_before, fence.quiet_since)
    fence.used_minutes = used


def _names(accounts: Mapping[int, str], fences: Sequence[Fence]) -> dict[str, tuple[str, ...]]:
    """The default is the budget that ends first, of those with anything left for new jobs."""
    by_project: dict[int, list[Fence]] = defaultdict(list)
    for fence in sorted(fences, key=lambda one: (one.room_seconds < 60, one.allocation.end, one.pk)):
        by_project[fence.allocation.project_id].append(fence)
    return {
        account: tuple(fence.qos for fence in by_project[project_id]) or (SHUT,)
        for project_id, account in accounts.items()
    }


def _changes(
    door: Door, fences: Sequence[Fence], names: Names, seen: FencesSeen
) -> Iterator[tuple[str, Call]]:
    """(budget or account, what to say to the scheduler): the limits first, for an account takes only what there is."""
    dialect = door.site.scheduler
    wanted = {
        fence.qos: fence.intended_minutes for fence in fences
    }  # one too few would stop who holds all the rest
    if any(SHUT in names[account] for account in seen.accounts):
        wanted[SHUT] = 0
    for name, minutes in wanted.items():
        budget = seen.budgets.get(name)
        if not budget or not budget.keeps or budget.limit != minutes:
            yield name, dialect.set_budget(name, minutes)
    for account, there in seen.accounts.items():
        if not _fits(there, names[account]):
            yield account, dialect.allow_budgets(door.site.name, account, names[account])


def _fits(account: AccountSeen, names: Sequence[str]) -> bool:
    return account.alike and account.default == names[0] and account.names == frozenset(names)


def _note(fence: Fence, names: Names, seen: FencesSeen, said: Mapping[str, str]) -> None:
    name = fence.allocation.project.account
    budget, account = seen.budgets.get(fence.qos), seen.accounts.get(name)
    fence.seen_minutes = budget.limit if budget else None
    fence.is_placed = account is not None and fence.qos in account.names
    fits = account is None or _fits(account, names[name])
    fence.trouble = said.get(fence.qos) or said.get(name) or ""
    if not fence.trouble and (fence.differs or not fits or not budget or not budget.keeps):
        fence.trouble = STILL_OTHER


def _values(fence: Fence) -> tuple[object, ...]:
    return tuple(getattr(fence, name) for name in KEPT)


def _save(fences: Sequence[Fence], before: Mapping[int, tuple[object, ...]], at: datetime) -> None:
    changed = [fence for fence in fences if _values(fence) != before[fence.pk]]
    Fence.objects.bulk_update(changed, KEPT, batch_size=100)
    looked_at = Fence.objects.filter(pk__in=[fence.pk for fence in fences])
    looked_at.update(seen_at=at)
    looked_at.filter(trouble="").update(confirmed_at=at)
