"""Worker side: ask a cluster for its own books, day by day, and have ours held against them.

Books that can't be read change nothing but that the day says so.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import date, timedelta

from django.utils import timezone

from accounting import reconciling
from accounting.models import Cluster
from jobs import maintenance
from jobs.clusters import connect_to
from jobs.spec import ClusterError

log = logging.getLogger(__name__)

A_DAY = timedelta(days=1)


def reconcile(cluster: Cluster, days: Sequence[date]) -> None:
    """Compare each of these UTC days, and tell staff once of what is newly open."""
    began = timezone.now()
    for day in days:
        if not maintenance.lasts(cluster.pk):
            _reconcile_day(cluster, day)
    reconciling.even_out(cluster, days)
    reconciling.tell_staff(cluster, began)


def _reconcile_day(cluster: Cluster, day: date) -> None:
    begin = reconciling.midnight(day)
    try:
        with connect_to(cluster.name) as door:
            books = door.books(begin, begin + A_DAY)
    except ClusterError as error:
        log.warning("cluster %s: its own sums of %s could not be read: %s", cluster.name, day, error)
        reconciling.unread(cluster, day, str(error))
    else:
        reconciling.compare(cluster, day, books)
