"""Closing a month of a cluster: its figures are final then, and what comes later is a dated correction."""

from __future__ import annotations

from accounting import months
from accounting.models import ClosedMonth, Cluster
from accounting.periods import Month
from portal.models import User
from portal.permissions import Permission, check_permission


def close_month(*, by: User, cluster: Cluster, month: Month) -> ClosedMonth:
    """Raises months.NotYet with the reason, or Overtaken if it is closed already."""
    check_permission(by, Permission.CLOSE_MONTHS)
    return months.close(cluster, month, by=by)
