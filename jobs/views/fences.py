"""A cluster's budgets in the scheduler, for the centre's staff: what each should be beside what the scheduler says."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from accounting.models import Cluster, Fence
from portal.lists import page_of
from portal.permissions import Permission, check_permission
from portal.requests import PersonRequest


@require_safe
def fences(request: PersonRequest, name: str) -> HttpResponse:
    check_permission(request.user, Permission.SEE_CLUSTERS)
    cluster = get_object_or_404(Cluster.objects.select_related("health"), name=name)
    rows = Fence.objects.on(cluster).select_related("allocation__project").troubled_first()
    context = {
        "cluster": cluster,
        "health": getattr(cluster, "health", None),
        "page": page_of(request, rows),
        "in_trouble": Fence.objects.on(cluster).in_trouble().count(),
    }
    return render(request, "jobs/fences.html", context)
