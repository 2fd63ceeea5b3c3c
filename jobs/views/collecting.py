"""What the portal reads of a cluster's accounting: whether it can be relied on, and how far each window came."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from accounting.models import Cluster
from jobs import actions
from jobs.measured_words import looked_at
from portal.permissions import Permission, check_permission, has_permission
from portal.requests import PersonRequest


@require_safe
def collecting(request: PersonRequest, name: str) -> HttpResponse:
    check_permission(request.user, Permission.SEE_CLUSTERS)
    clusters = Cluster.objects.select_related("capability", "collection").prefetch_related("windows")
    cluster = get_object_or_404(clusters, name=name)
    capability = getattr(cluster, "capability", None)
    context = {
        "cluster": cluster,
        "capability": capability,
        "findings": looked_at(capability) if capability else [],
        "collection": getattr(cluster, "collection", None),
        "may_check": has_permission(request.user, Permission.KEEP_COLLECTING),
        "unseen": cluster.quarantined.filter(looked_at=None).count(),
    }
    return render(request, "jobs/collecting.html", context)


@require_POST
def check_again(request: PersonRequest, name: str) -> HttpResponse:
    check_permission(request.user, Permission.KEEP_COLLECTING)
    cluster = get_object_or_404(Cluster, name=name)
    actions.ask_for_check(by=request.user, cluster=cluster)
    messages.success(
        request, _("%(cluster)s is looked at now; reload this page in a moment.") % {"cluster": cluster}
    )
    return redirect("jobs:collecting", cluster.name)
