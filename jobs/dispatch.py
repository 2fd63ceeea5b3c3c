"""Worker side: what waits to be sent, and for whom; look up unclear ones, cancel. `sending` carries one person's jobs.

Exactly once. An answer that got lost leaves the job "submitting": it is looked up in the queue and the accounting by
its token, and only when both answered well and knew nothing, twice, a grace time apart, it is sent again.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta

from django.db import connections
from django.db.models import OuterRef, Q, Subquery
from django.utils import timezone

from accounting.models import Cluster
from jobs import fencing, health, lifecycle, pace, sending
from jobs.clusters import Door, connect_to
from jobs.models import MAX_ATTEMPTS, Association, ClusterAccount, Job
from jobs.rights import why_ended
from jobs.spec import ClusterError
from jobs.ssh import Refused
from jobs.states import State

log = logging.getLogger(__name__)

STALE = timedelta(seconds=60)  # a claim without a sign of life for so long: its worker is dead
GRACE = timedelta(seconds=20)  # the scheduler's accounting lags its queue by less
CLOCKS = timedelta(minutes=5)  # by so much may the cluster's clock differ from ours
MOST = 2000  # jobs in one go: those behind them are rung for again


def send_waiting(cluster_id: int) -> None:
    """Send every job that waits for this cluster: one remote call per person and batch, many people side by side."""
    cluster = health.to_try(cluster_id)
    if cluster is None:
        return
    waiting = _waiting(cluster)
    if not waiting:
        return
    try:
        with connect_to(cluster.name) as door:
            budgets = fencing.budgets_for(door, cluster, [job for jobs in waiting.values() for job in jobs])
    except ClusterError as error:
        _report(cluster, "looking at budgets", error)
        return
    _send_side_by_side(cluster, waiting, budgets, door.site.logins_at_once)
    pace.soon(cluster_id)


def drop_unwanted(cluster_id: int) -> None:
    """Jobs that were to be cancelled while a try to send them came back."""
    for job in Job.objects.filter(cluster=cluster_id, state=State.NEW, cancel_requested_at__isnull=False):
        lifecycle.finish(job, State.CANCELLED, reason="CancelledBeforeSent")


def resolve_unclear(cluster_id: int) -> None:
    """Find out what became of jobs whose worker died or whose answer was lost."""
    cluster = health.to_try(cluster_id)
    if cluster is None:
        return
    stale = Job.objects.filter(cluster=cluster, state=State.SUBMITTING, claimed_at__lt=timezone.now() - STALE)
    with connect_to(cluster.name) as door:
        for account, jobs in _by_account(stale, cluster).items():
            try:
                since = min(job.created_at for job in jobs) - CLOCKS
                asker = (
                    account.username if account.is_active else door.site.collector
                )  # nobody logs in as them
                found = door.find(asker, [job.token for job in jobs], since)
                for job in jobs:
                    _settle(door, account, job, found.get(job.token))
            except Refused as refusal:  # of one person; of everybody, the poll will find out
                log.warning("cluster %s: %s", cluster.name, refusal)
            except ClusterError as error:
                _report(cluster, f"looking up jobs of {account.username}", error)
                return


def cancel_wanted(cluster_id: int) -> None:
    """Tell the scheduler of every wish to cancel. The job's state changes when the scheduler says so."""
    cluster = health.to_try(cluster_id)
    if cluster is None:
        return
    wanted = Job.objects.on_cluster(cluster).filter(cancel_requested_at__isnull=False)
    with connect_to(cluster.name) as door:
        for account, jobs in _by_account(wanted, cluster).items():
            if not account.is_active:
                continue  # whoever was shut out: `offboarding` ends their jobs, as the admin
            try:
                pace.soon(cluster_id)
                door.cancel(account.username, [(job.token, job.scheduler_id) for job in jobs])
            except Refused as refusal:
                log.warning("cluster %s: %s", cluster.name, refusal)
            except ClusterError as error:
                _report(cluster, f"cancelling for {account.username}", error)
                return


def _report(cluster: Cluster, doing: str, error: Exception) -> None:
    log.warning("cluster %s: %s failed: %s", cluster.name, doing, error)
    health.failed(cluster, error)


def _waiting(cluster: Cluster) -> dict[str, list[Job]]:
    """The jobs that can be sent now, by the POSIX user that they run as. One query."""
    now = timezone.now()
    rights = Association.objects.usable().filter(
        account__user=OuterRef("owner"),
        account__cluster=cluster,
        account__state=ClusterAccount.State.ACTIVE,
        project=OuterRef("project"),
    )
    jobs = (
        Job.objects.filter(cluster=cluster, state=State.NEW, cancel_requested_at=None)
        .filter(Q(not_before=None) | Q(not_before__lte=now), attempts__lt=MAX_ATTEMPTS)
        .annotate(sent_as=Subquery(rights.values("account__username")[:1]))
        .filter(sent_as__isnull=False)
        .select_related("project", "partition")
        .order_by("pk")[:MOST]
    )
    ready: dict[str, list[Job]] = defaultdict(list)
    for job in jobs:
        ready[job.sent_as].append(job)  # type: ignore[attr-defined]  # annotated
    return ready


def _send_side_by_side(
    cluster: Cluster, waiting: dict[str, list[Job]], budgets: Mapping[int, str], threads: int
) -> None:
    """So many people at a time. Once the cluster is in trouble, nobody's turn begins any more."""
    turns = deque(waiting.items())
    trouble = threading.Event()

    def work_off() -> None:
        while turns and not trouble.is_set():
            with suppress(IndexError):  # another thread was faster
                username, jobs = turns.popleft()
                if not _send_for(cluster, username, jobs, budgets):
                    trouble.set()

    if len(turns) == 1:
        work_off()
        return

    def work_off_and_hang_up() -> None:
        try:
            work_off()
        finally:
            connections.close_all()  # a thread's own

    with ThreadPoolExecutor(min(threads, len(turns)), "sending") as pool:
        for ended in [pool.submit(work_off_and_hang_up) for _ in range(min(threads, len(turns)))]:
            ended.result()


def _send_for(cluster: Cluster, username: str, jobs: Sequence[Job], budgets: Mapping[int, str]) -> bool:
    """False: the cluster is in trouble, whoever's turn it is."""
    try:
        with connect_to(cluster.name) as door:
            sending.send(door, username, [job for job in jobs if job.pk in budgets], budgets)
    except ClusterError as error:
        _report(cluster, f"sending for {username}", error)
        return False
    return True


def _by_account(jobs: Iterable[Job], cluster: Cluster) -> dict[ClusterAccount, list[Job]]:
    accounts = {account.user_id: account for account in ClusterAccount.objects.filter(cluster=cluster)}
    grouped: dict[ClusterAccount, list[Job]] = defaultdict(list)
    for job in jobs:
        grouped[accounts[job.owner_id]].append(job)
    return grouped


def _settle(door: Door, account: ClusterAccount, job: Job, scheduler_id: str | None) -> None:
    """Found: it is queued. Nobody knows it, now and a grace time ago: surely not there, send it again."""
    now = timezone.now()
    if scheduler_id:
        lifecycle.mark_queued(job, scheduler_id)
    elif job.looked_up_at is None:
        Job.objects.filter(pk=job.pk, looked_up_at=None).update(looked_up_at=now)
    elif job.looked_up_at < now - GRACE and not account.is_active:
        lifecycle.finish(job, State.CANCELLED, reason=why_ended(job) or "NoLongerMember")
    elif job.looked_up_at < now - GRACE:
        door.prepare(account.username, job.token)  # its worker may have died before there was a folder
        door.forget(account.username, job.token)
        lifecycle.put_back(job, "NotSent")
