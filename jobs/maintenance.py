"""Is a cluster to be left alone now? Then nothing is sent to it and nothing asked of it; jobs are taken and kept."""

from __future__ import annotations

from django.db.models import QuerySet
from django.utils import timezone

from accounting.models import Cluster, Maintenance


def lasts(cluster_id: int) -> bool:
    return Maintenance.objects.under_way(timezone.now()).filter(cluster=cluster_id).exists()


def left_alone() -> QuerySet[Maintenance, int]:
    """Ids of the clusters that are under maintenance, for an `exclude`."""
    return Maintenance.objects.under_way(timezone.now()).order_by().values_list("cluster", flat=True)


def clusters_at_work() -> QuerySet[Cluster]:
    """Those that take jobs, and may be asked now."""
    return Cluster.objects.filter(accepts_jobs=True).exclude(pk__in=left_alone())
