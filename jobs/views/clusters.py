"""The clusters, for the centre's staff: do they answer, what waits, and what nobody can explain."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Q, QuerySet
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounting.models import Cluster, Fence, QuarantinedRecord, UsageRecord
from jobs.account_words import in_words
from jobs.maintenance import left_alone
from jobs.models import MAX_ATTEMPTS, ClusterAccount, ClusterHealth, Job
from jobs.states import State
from portal.lists import first_and_count
from portal.permissions import Permission, check_permission
from portal.requests import PersonRequest

TOO_LONG = timedelta(minutes=10)  # a job that could not be sent for so long: somebody should look
MOST = 50


@dataclass(frozen=True)
class ClusterRow:
    """One cluster, as its page part shows it. Counts are of jobs of the portal, but for `queue`."""

    cluster: Cluster
    health: ClusterHealth | None
    by_state: dict[str, int]
    complete_until: datetime | None  # how far its accounting was read
    unassigned: int  # records on accounts that no project owns
    anomalies: int
    quarantined: int  # that nobody looked at yet
    measured: bool | None  # whether its usage can be; None: nobody knows
    fences_in_trouble: int


@require_safe
def clusters(request: PersonRequest) -> HttpResponse:
    check_permission(request.user, Permission.SEE_CLUSTERS)
    now = timezone.now()
    stuck = stuck_jobs(now).select_related("owner", "project", "cluster", "partition").order_by("pk")
    stuck_first, stuck_count = first_and_count(stuck, MOST)
    accounts = ClusterAccount.objects.select_related("user", "cluster").order_by("state", "username")
    unready, unready_count = first_and_count(accounts.awaited().order_by("requested_at"), MOST)
    context = {
        "rows": cluster_rows(),
        "stuck": stuck_first,
        "stuck_count": stuck_count,
        "unready": [in_words(account) for account in unready],
        "unready_count": unready_count,
        "leaving": accounts.being_shut_out()[:MOST],
        "active_accounts": accounts.filter(state=ClusterAccount.State.ACTIVE).count(),
    }
    return render(request, "jobs/clusters.html", context)


def stuck_jobs(now: datetime) -> QuerySet[Job]:
    """Jobs that could not be sent for so long, or so often, that somebody should look. Maintenance keeps them on purpose."""
    return Job.objects.filter(
        Q(attempts__gte=MAX_ATTEMPTS) | Q(created_at__lt=now - TOO_LONG) & ~Q(cluster__in=left_alone()),
        state__in=(State.NEW, State.SUBMITTING),
    )


def cluster_rows() -> list[ClusterRow]:
    """Those that accept jobs first. Six queries, whatever the number of clusters."""
    found = (
        Cluster.objects.select_related("health", "collection", "capability")
        .prefetch_related("partitions__factors")
        .order_by("-accepts_jobs", "name")
    )
    states: dict[int, dict[str, int]] = {}
    for pk, state, count in (
        Job.objects.unfinished().order_by().values_list("cluster", "state").annotate(count=Count("pk"))
    ):
        states.setdefault(pk, {})[state] = count
    records = {
        pk: (unassigned, anomalies)
        for pk, unassigned, anomalies in UsageRecord.objects.order_by()
        .filter(Q(project=None) | ~Q(anomaly=""))
        .values_list("cluster")
        .annotate(
            unassigned=Count("pk", filter=Q(project=None)), anomalies=Count("pk", filter=~Q(anomaly=""))
        )
    }
    quarantined = dict(
        QuarantinedRecord.objects.unseen().order_by().values_list("cluster").annotate(count=Count("pk"))
    )
    fences = dict(
        Fence.objects.in_trouble()
        .order_by()
        .filter(allocation__settled_at=None)
        .values_list("allocation__cluster")
        .annotate(count=Count("pk"))
    )
    return [
        ClusterRow(
            cluster=cluster,
            health=getattr(cluster, "health", None),
            by_state=states.get(cluster.pk, {}),
            complete_until=cluster.collection.complete_until if hasattr(cluster, "collection") else None,
            unassigned=records.get(cluster.pk, (0, 0))[0],
            anomalies=records.get(cluster.pk, (0, 0))[1],
            quarantined=quarantined.get(cluster.pk, 0),
            measured=cluster.capability.measured if hasattr(cluster, "capability") else None,
            fences_in_trouble=fences.get(cluster.pk, 0),
        )
        for cluster in found
    ]
