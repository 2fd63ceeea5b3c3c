"""The dot in the top bar: whether the clusters answer, in words."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import SimpleLazyObject
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounting.models import Cluster
from jobs import notices
from jobs.hops import OLD
from jobs.models import ClusterHealth
from portal.permissions import Permission, has_permission
from portal.words import ago


@dataclass(frozen=True)
class ClusterState:
    tone: str
    words: str
    url: str = ""


def clusters_seen(request: HttpRequest) -> list[Cluster]:
    """Those that take jobs, as `jobs.notices` needs them: asked once for the dot and the banners of one page."""
    kept: list[Cluster] | None = request.__dict__.get("clusters_seen")
    if kept is None:
        kept = request.__dict__["clusters_seen"] = notices.seen(Cluster.objects.filter(accepts_jobs=True))
    return kept


def cluster_state(request: HttpRequest) -> dict[str, Any]:
    """Context processor. Lazy: a polled part has no top bar and must not pay for one."""
    return {"cluster_state": SimpleLazyObject(partial(_state, request))}


def _state(request: HttpRequest) -> ClusterState | None:
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return None
    health = [cluster.health for cluster in clusters_seen(request) if hasattr(cluster, "health")]
    if not health:
        return None
    url = reverse("jobs:clusters") if has_permission(user, Permission.SEE_CLUSTERS) else ""
    now = timezone.now()
    alone = next((one for one in clusters_seen(request) if notices.is_left_alone(one, now)), None)
    if alone:
        return ClusterState("wait", _("%(cluster)s: maintenance") % {"cluster": alone}, url)
    silent = [one for one in health if one.failures or (one.answered_at and now - one.answered_at > OLD)]
    if silent:
        return ClusterState("bad", _silence(silent[0]), url)
    if any(one.answered_at is None for one in health):
        return ClusterState("wait", _("%(cluster)s: no news yet") % {"cluster": health[0].cluster}, url)
    return ClusterState("ok", _well(health), url)


def _silence(one: ClusterHealth) -> str:
    if one.answered_at is None:
        return _("%(cluster)s does not answer") % {"cluster": one.cluster}
    return _("%(cluster)s: last answer %(ago)s") % {"cluster": one.cluster, "ago": ago(one.answered_at)}


def _well(health: list[ClusterHealth]) -> str:
    if len(health) > 1:
        return _("All clusters answer")
    free = health[0].free_gpus
    if free is None:
        return _("%(cluster)s is up") % {"cluster": health[0].cluster}
    return ngettext("%(cluster)s is up, %(n)s GPU free", "%(cluster)s is up, %(n)s GPUs free", free) % {
        "cluster": health[0].cluster,
        "n": free,
    }
