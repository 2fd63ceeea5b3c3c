"""For the centre's staff: where the road to the clusters is broken, and what to do now."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from jobs import hops, upkeep
from jobs.models import Job
from jobs.signs import LoginNodeSign
from portal.overtaken import told_if_overtaken
from portal.permissions import Permission, check_permission
from portal.reauthentication import confirm_again
from portal.requests import PersonRequest


@require_safe
def health(request: PersonRequest) -> HttpResponse:
    check_permission(request.user, Permission.SEE_CLUSTERS)
    roads = hops.roads()
    context = {
        "roads": roads,
        "broken": [road.broken for road in roads if road.broken],
        "set_aside": Job.objects.set_aside().count(),
        "now": timezone.now(),
    }
    return render(request, "jobs/health.html", context)


@require_POST
@confirm_again
def trust_node(request: PersonRequest, pk: int) -> HttpResponse:
    check_permission(request.user, Permission.KEEP_CLUSTERS)
    sign = get_object_or_404(LoginNodeSign.objects.select_related("cluster"), pk=pk)
    with told_if_overtaken(request):
        upkeep.trust_node(by=request.user, sign=sign)
        messages.success(request, _("%(node)s is tried again, with the key that is pinned.") % {"node": sign})
    return redirect("jobs:health")
