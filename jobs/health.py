"""What the portal believes of each cluster: whether it answers, since when not, and when to try again.

Kept in the database, so that every worker and every page believes the same.
"""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from accounting.models import Cluster
from jobs.models import ClusterHealth

FIRST_PAUSE = timedelta(seconds=2)
LONGEST_PAUSE = timedelta(minutes=1)


def of(cluster_id: int) -> ClusterHealth:
    return ClusterHealth.objects.get_or_create(cluster_id=cluster_id)[0]


def may_try(cluster_id: int) -> bool:
    """False while the breaker is open: the cluster just failed to answer, and it is not yet time for another try."""
    again = of(cluster_id).try_again_at
    return again is None or again <= timezone.now()


def answered(cluster: Cluster, problem: str = "") -> None:
    """A good answer. `problem`: a part that was missing from it, such as the accounting; jobs can be sent all the same."""
    ClusterHealth.objects.filter(cluster=cluster).update(
        answered_at=timezone.now(), failures=0, problem=problem[:300], try_again_at=None
    )


def failed(cluster: Cluster, error: Exception) -> None:
    """A bad answer: open the breaker, longer each time."""
    health = of(cluster.pk)
    pause = min(FIRST_PAUSE * 2 ** min(health.failures, 10), LONGEST_PAUSE)
    ClusterHealth.objects.filter(pk=health.pk).update(
        failures=health.failures + 1, problem=str(error)[:300], try_again_at=timezone.now() + pause
    )
