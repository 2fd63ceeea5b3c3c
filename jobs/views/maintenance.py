"""Maintenance of a cluster, as staff set and end it."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from accounting.models import Cluster, Maintenance
from jobs import upkeep
from jobs.actions import Refused
from jobs.models import Job
from jobs.upkeep_forms import MaintenanceForm
from portal.lists import form_page, page_of
from portal.overtaken import told_if_overtaken
from portal.permissions import Permission, check_permission
from portal.reauthentication import confirm_again
from portal.requests import PersonRequest


@form_page
@confirm_again
def maintenance(request: PersonRequest, name: str) -> HttpResponse:
    check_permission(request.user, Permission.KEEP_CLUSTERS)
    cluster = get_object_or_404(Cluster, name=name)
    form = MaintenanceForm(request.POST if request.method == "POST" else None)
    if form.is_valid() and _set(request, cluster, form):
        return redirect("jobs:maintenance", cluster.name)
    now = timezone.now()
    rows = Maintenance.objects.filter(cluster=cluster).select_related("set_by", "ended_by", "cluster")
    context = {
        "cluster": cluster,
        "form": form,
        "page": page_of(request, rows),
        "under_way": rows.under_way(now).first(),
        "kept": Job.objects.unsent().filter(cluster=cluster).count(),
        "now": now,
    }
    return render(request, "jobs/maintenance.html", context)


def _set(request: PersonRequest, cluster: Cluster, form: MaintenanceForm) -> bool:
    try:
        made = upkeep.set_maintenance(by=request.user, cluster=cluster, **form.cleaned_data)
    except Refused as refused:
        form.add_error(refused.field, refused.message)
        return False
    if made.lasts(timezone.now()):
        messages.success(request, _("The maintenance has begun: jobs are taken and kept, nothing is sent."))
    else:
        messages.success(request, _("The maintenance is set. Members read of it three days before."))
    return True


@require_POST
@confirm_again
def maintenance_end(request: PersonRequest, name: str, pk: int) -> HttpResponse:
    check_permission(request.user, Permission.KEEP_CLUSTERS)
    one = get_object_or_404(Maintenance.objects.select_related("cluster"), pk=pk, cluster__name=name)
    with told_if_overtaken(request):
        upkeep.end_maintenance(by=request.user, maintenance=one)
        messages.success(request, _("It is over. What was kept is sent now."))
    return redirect("jobs:maintenance", name)
