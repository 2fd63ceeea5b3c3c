"""What the portal believes of each cluster: whether it answers, since when not, and when to try again.

Kept in the database, so that every worker and every page believes the same. The breaker: a bad answer opens it, and
nothing is asked any more but by one trial, after a pause that grows and is never quite the same. The trial is the
poll, of which there is one at a time; its good answer closes the breaker.
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta

from django.db.models import F
from django.utils import timezone

from accounting.models import Cluster
from jobs import login_nodes, maintenance
from jobs.logins import GatewayError
from jobs.models import ClusterHealth
from jobs.schedulers.slurm import is_of_accounting
from jobs.signs import FailureCount, FailureKind, Link
from jobs.sites import ConfigError
from jobs.ssh import HostKeyMismatch, Interrupted, Refused, SshError

FIRST_PAUSE = timedelta(seconds=2)
LONGEST_PAUSE = timedelta(minutes=1)
JITTER = 0.25  # a pause is up to so much longer: what broke together is not tried again together
LINKS = {
    FailureKind.SETTINGS: Link.SETTINGS,
    FailureKind.GATEWAY: Link.GATEWAY,
    FailureKind.SCHEDULER: Link.SLURMCTLD,
    FailureKind.ACCOUNTING: Link.SLURMDBD,
}  # every other kind is SSH's


def of(cluster_id: int) -> ClusterHealth:
    """Also brings this process up to date about the cluster's login nodes."""
    login_nodes.share(cluster_id)
    return ClusterHealth.objects.get_or_create(cluster_id=cluster_id)[0]


def to_try(cluster_id: int) -> Cluster | None:
    """The cluster, if it may be asked now.

    Not while it is under maintenance, nor while the breaker is open: the poll tries whether it answers again.
    Also brings this process up to date about its login nodes.
    """
    login_nodes.share(cluster_id)
    at_work = Cluster.objects.filter(pk=cluster_id).exclude(pk__in=maintenance.left_alone())
    well = at_work.filter(health__try_again_at=None).first()  # nothing is known of a new one, either
    if well or not (at_work.exists() and _is_the_trial(cluster_id)):
        return well
    return at_work.get()


def may_try(cluster_id: int) -> bool:
    return to_try(cluster_id) is not None


def _is_the_trial(cluster_id: int) -> bool:
    """Where no poll closes the breaker, because the cluster takes no jobs any more: whoever comes first after the pause."""
    now = timezone.now()
    paused = ClusterHealth.objects.filter(
        cluster=cluster_id, cluster__accepts_jobs=False, try_again_at__lte=now
    )
    return bool(paused.update(try_again_at=now + LONGEST_PAUSE))


def answered(cluster: Cluster, problem: str = "") -> None:
    """A good answer to the poll. `problem`: a part that was missing from it, such as the accounting; jobs can be sent all the same."""
    health, now = of(cluster.pk), timezone.now()
    broken = Link.SLURMDBD if problem else ""
    ClusterHealth.objects.filter(pk=health.pk).update(
        answered_at=now,
        poll_seconds=(now - health.asked_at).total_seconds() if health.asked_at else None,
        failures=0,
        problem=problem[:300],
        try_again_at=None,
        broken=broken,
        broken_since=_since(health, broken),
    )


def failed(cluster: Cluster, error: Exception) -> None:
    """A bad answer: open the breaker, longer each time."""
    health, kind = of(cluster.pk), kind_of(error)
    broken = LINKS.get(kind, Link.SSH)
    FailureCount.rise(cluster, kind)
    ClusterHealth.objects.filter(pk=health.pk).update(
        failures=F("failures") + 1,
        problem=str(error)[:300],
        try_again_at=timezone.now() + pause_after(health.failures),
        broken=broken,
        broken_since=_since(health, broken),
    )


def pause_after(failures: int) -> timedelta:
    """How long to wait after one more than so many failures."""
    pause: timedelta = min(FIRST_PAUSE * 2 ** min(failures, 10), LONGEST_PAUSE)
    return pause * random.uniform(1, 1 + JITTER)  # noqa: S311  # no secret


def kind_of(error: Exception) -> FailureKind:
    match error:
        case ConfigError():
            return FailureKind.SETTINGS
        case HostKeyMismatch():
            return FailureKind.HOST_KEY
        case Refused():
            return FailureKind.REFUSED
        case Interrupted():
            return FailureKind.INTERRUPTED
        case SshError():
            return FailureKind.UNREACHABLE
        case GatewayError():
            return FailureKind.GATEWAY
        case _ if is_of_accounting(str(error)):
            return FailureKind.ACCOUNTING
        case _:
            return FailureKind.SCHEDULER


def _since(health: ClusterHealth, broken: str) -> datetime | None:
    if not broken:
        return None
    return health.broken_since if health.broken == broken and health.broken_since else timezone.now()
