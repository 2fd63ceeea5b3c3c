"""The clusters, for the centre's staff: do they answer, what waits, and what nobody can explain."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Q, QuerySet
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounting.models import Cluster, QuarantinedRecord, UsageRecord
from jobs.lifecycle import MAX_ATTEMPTS
from jobs.models import ClusterAccount, ClusterHealth, Job
from jobs.states import State
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
    quarantined: int


@require_safe
def clusters(request: PersonRequest) -> HttpResponse:
    check_permission(request.user, Permission.SEE_CLUSTERS)
    now = timezone.now()
    stuck = stuck_jobs(now)
    accounts = ClusterAccount.objects.select_related("user", "cluster").order_by("state", "username")
    context = {
        "rows": cluster_rows(),
        "stuck": stuck.select_related("owner", "project", "cluster", "partition").order_by("pk")[:MOST],
        "stuck_count": stuck.count(),
        "unready": accounts.filter(state=ClusterAccount.State.REQUESTED)[:MOST],
        "active_accounts": accounts.filter(state=ClusterAccount.State.ACTIVE).count(),
        "quarantined": QuarantinedRecord.objects.select_related("cluster")[:MOST],
    }
    return render(request, "jobs/clusters.html", context)


def stuck_jobs(now: datetime) -> QuerySet[Job]:
    """Jobs that could not be sent for so long, or so often, that somebody should look."""
    return Job.objects.filter(
        Q(attempts__gte=MAX_ATTEMPTS) | Q(created_at__lt=now - TOO_LONG),
        state__in=(State.NEW, State.SUBMITTING),
    )


def cluster_rows() -> list[ClusterRow]:
    """Those that accept jobs first. Five queries, whatever the number of clusters."""
    found = (
        Cluster.objects.select_related("health", "collection")
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
        QuarantinedRecord.objects.order_by().values_list("cluster").annotate(count=Count("pk"))
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
        )
        for cluster in found
    ]
