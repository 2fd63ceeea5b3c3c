"""What members are told of the clusters beyond the usual: maintenance, silence, and how old what they see is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import F, FilteredRelation, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from accounting.models import Cluster
from jobs.hops import OLD
from jobs.models import ClusterHealth
from portal.words import clock

BEFOREHAND = timedelta(days=3)


@dataclass(frozen=True)
class Notice:
    """For the alert component. `lost`: what it means for jobs."""

    cluster: Cluster
    tone: str
    title: str
    lost: str


def seen(clusters: QuerySet[Cluster]) -> list[Cluster]:
    """Each with its health and the next maintenance that members should know of. One query."""
    now = timezone.now()
    soon = Q(
        maintenances__ended_at=None,
        maintenances__until__gt=now,
        maintenances__begins_at__lte=now + BEFOREHAND,
    )
    found = (
        clusters.select_related("health")
        .annotate(soon=FilteredRelation("maintenances", condition=soon))
        .annotate(begins_at=F("soon__begins_at"), until=F("soon__until"), sentence=F("soon__sentence"))
        .order_by("name", "begins_at")
    )
    first: dict[int, Cluster] = {}
    for cluster in found:
        first.setdefault(cluster.pk, cluster)
    return list(first.values())


def of_all(clusters: Iterable[Cluster]) -> list[Notice]:
    """What there is to say of clusters as `seen` gives them."""
    now = timezone.now()
    return [notice for cluster in clusters if (notice := _notice(cluster, now))]


def of(cluster: Cluster) -> Notice | None:
    return next(iter(of_all(seen(Cluster.objects.filter(pk=cluster.pk)))), None)


def is_left_alone(cluster: Any, now: datetime) -> bool:
    """Of one that `seen` gave."""
    return cluster.begins_at is not None and cluster.begins_at <= now


def _notice(cluster: Any, now: datetime) -> Notice | None:
    health: ClusterHealth | None = getattr(cluster, "health", None)
    words: dict[str, object] = {
        "cluster": cluster,
        "confirmed": clock(health.answered_at) if health and health.answered_at else "",
    }
    if cluster.begins_at:
        words |= {
            "begins": clock(cluster.begins_at),
            "until": clock(cluster.until),
            "sentence": cluster.sentence,
        }
    if is_left_alone(cluster, now):
        return Notice(
            cluster,
            "warn",
            _("%(cluster)s is under maintenance until %(until)s: %(sentence)s") % words,
            _kept(words),
        )
    if health and health.failures:
        title = (
            _("%(cluster)s has not answered since %(confirmed)s.")
            if words["confirmed"]
            else _("%(cluster)s has not answered yet.")
        )
        return Notice(cluster, "warn", title % words, _kept_until_it_answers(words))
    if health and health.answered_at and now - health.answered_at > OLD:
        return Notice(
            cluster, "warn", _("Jobs on %(cluster)s: last confirmed %(confirmed)s.") % words, _no_news()
        )
    if cluster.begins_at:
        title = _("Maintenance of %(cluster)s from %(begins)s until %(until)s: %(sentence)s") % words
        return Notice(
            cluster, "busy", title, _("Jobs that you submit during it are kept, and sent afterwards.")
        )
    return None


def _kept(words: dict[str, object]) -> str:
    kept = _("Jobs are taken and kept, and sent afterwards.")
    return f"{kept} {_last_confirmed(words)}".strip()


def _kept_until_it_answers(words: dict[str, object]) -> str:
    kept = _("Jobs are taken and kept, and sent as soon as it answers; none is lost.")
    return f"{kept} {_last_confirmed(words)}".strip()


def _last_confirmed(words: dict[str, object]) -> str:
    return (
        _("What you see of jobs there was last confirmed %(confirmed)s.") % words
        if words["confirmed"]
        else ""
    )


def _no_news() -> str:
    return _(
        "The portal has had no news since. Jobs are taken and kept, and sent later; those on the cluster go on."
    )
