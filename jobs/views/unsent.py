"""Jobs that could not be sent, for the centre's staff: send them again, or give them up."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from jobs import upkeep
from jobs.models import MAX_ATTEMPTS, Job
from jobs.upkeep_forms import GiveUpForm
from jobs.views.clusters import stuck_jobs
from portal.lists import form_page, page_of
from portal.overtaken import told_if_overtaken
from portal.permissions import Permission, check_permission
from portal.reauthentication import confirm_again
from portal.requests import PersonRequest


@require_safe
def unsent(request: PersonRequest) -> HttpResponse:
    check_permission(request.user, Permission.KEEP_CLUSTERS)
    rows = stuck_jobs(timezone.now()).order_by("pk")
    shown = Job.objects.select_related("owner", "project", "cluster", "partition")
    context = {"page": page_of(request, rows, shown), "tries": MAX_ATTEMPTS}
    return render(request, "jobs/unsent.html", context)


@require_POST
def send_again(request: PersonRequest, pk: int) -> HttpResponse:
    check_permission(request.user, Permission.KEEP_CLUSTERS)
    job = get_object_or_404(Job.objects.select_related("project"), pk=pk)
    with told_if_overtaken(request):
        upkeep.send_again(by=request.user, job=job)
        messages.success(
            request,
            _("“%(name)s” is sent again, up to %(tries)s times.") % {"name": job, "tries": MAX_ATTEMPTS},
        )
    return redirect("jobs:unsent")


@form_page
@confirm_again
def give_up(request: PersonRequest, pk: int) -> HttpResponse:
    check_permission(request.user, Permission.KEEP_CLUSTERS)
    job = get_object_or_404(Job.objects.select_related("owner", "project", "cluster", "partition"), pk=pk)
    form = GiveUpForm(request.POST if request.method == "POST" else None)
    if not form.is_valid():
        return render(request, "jobs/give_up.html", {"job": job, "form": form})
    with told_if_overtaken(request):
        upkeep.give_up(by=request.user, job=job, **form.cleaned_data)
        messages.success(
            request,
            _("“%(name)s” is given up: its hours are free again, and %(owner)s gets a mail.")
            % {"name": job, "owner": job.owner},
        )
    return redirect("jobs:unsent")
