"""Can a cluster's usage be measured? Looked at before its first record is read, once a day, and when staff ask.

Yes, no and "don't know" are three answers: a cluster that could be measured and now can't be asked keeps its yes; one that
never answered is not measured. Without a yes no record is read, so that nothing is ever reported as zero.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from accounting.models import Capability, Cluster
from jobs import health, login_nodes, maintenance
from jobs.clusters import connect_to
from jobs.dispatch import CLOCKS
from jobs.schedulers import AnswerError, Finding
from jobs.spec import ClusterError
from portal.emails import people_with, post
from portal.models import Role

log = logging.getLogger(__name__)

EVERY = timedelta(days=1)
WHILE_REFUSED = timedelta(hours=1)  # somebody may have mended it
AFTER_SILENCE = timedelta(minutes=1)
CLOCK = "clock"  # beside the scheduler's own checks: its clock against ours


def is_measured(cluster: Cluster) -> bool:
    """Whether records of the cluster may be read. Asks it, if nobody knows yet."""
    known = of(cluster)
    if known.measured is None and not _asked_lately(known):
        known = check(cluster)
    return known.measured is True


def of(cluster: Cluster) -> Capability:
    return Capability.objects.get_or_create(cluster=cluster)[0]


def due() -> list[int]:
    """Clusters (pks) to look at now: asked for, or long enough ago."""
    now = timezone.now()
    clusters = maintenance.clusters_at_work().select_related("capability")
    return [one.pk for one in clusters if _is_due(getattr(one, "capability", None), now)]


def _is_due(known: Capability | None, now: datetime) -> bool:
    if known is None or known.tried_at is None:
        return True
    if known.wanted_at and known.wanted_at > known.tried_at:
        return True
    if known.measured is None or known.wanted_at:
        return known.tried_at + AFTER_SILENCE <= now
    return known.tried_at + (EVERY if known.measured else WHILE_REFUSED) <= now


def check(cluster: Cluster) -> Capability:
    """Ask, and keep what was found. No good answer changes nothing but `trouble`."""
    began = timezone.now()
    login_nodes.share(cluster.pk)
    try:
        with connect_to(cluster.name) as door:
            findings, asked_at = door.probe()
    except ClusterError as error:
        log.warning("cluster %s: nobody knows whether it can be measured: %s", cluster.name, error)
        if not isinstance(error, AnswerError):
            health.failed(cluster, error)
        Capability.objects.filter(pk=of(cluster).pk).update(tried_at=began, trouble=str(error)[:300])
        return of(cluster)
    return _keep(cluster, findings, asked_at, began)


@transaction.atomic
def _keep(cluster: Cluster, findings: tuple[Finding, ...], asked_at: datetime, began: datetime) -> Capability:
    known = Capability.objects.select_for_update().get(pk=of(cluster).pk)
    off = abs(asked_at - timezone.now())
    was = known.measured
    known.findings = [
        *({"check": str(one.check), "ok": one.ok, "seen": one.seen[:300]} for one in findings),
        {"check": CLOCK, "ok": off <= CLOCKS, "seen": f"{off.total_seconds():.0f} s"},
    ]
    known.measured = all(one["ok"] for one in known.findings)
    known.checked_at = known.tried_at = timezone.now()
    known.trouble = ""
    if known.wanted_at and known.wanted_at <= began:
        known.wanted_at = None
    known.save()
    if was is not False and not known.measured:
        _tell_staff(cluster, known)
    return known


def _asked_lately(known: Capability) -> bool:
    return known.tried_at is not None and known.tried_at > timezone.now() - AFTER_SILENCE


def _tell_staff(cluster: Cluster, known: Capability) -> None:
    for staff in people_with(Role.STAFF):
        post(
            "not_measured",
            to=staff,
            key=f"not measured {cluster.pk} {known.checked_at:%Y-%m-%dT%H:%M:%S}",
            path=reverse("jobs:collecting", args=[cluster.name]),
            cluster=cluster.title,
        )
