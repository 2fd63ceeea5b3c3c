"""The list of jobs: everything it shows is in the address."""

from __future__ import annotations

from django.db.models import Count
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from jobs.forms import JobFilter
from jobs.models import Job
from jobs.states import FINAL, State
from portal.lists import page_of
from portal.permissions import Permission, has_permission
from portal.requests import PersonRequest


@require_safe
def jobs(request: PersonRequest) -> HttpResponse:
    visible = Job.objects.visible_to(request.user)
    form = JobFilter(request.user, request.GET)
    found = form.narrow(visible)
    page = page_of(request, found.order_by(*form.order), Job.objects.with_names())
    # Only what is not over: counting all that ever ended would take longer than showing the page.
    counts = dict(visible.unfinished().order_by().values_list("state").annotate(count=Count("pk")))
    context = {
        "form": form,
        "page": page,
        "filtered": any(name in request.GET for name in form.fields),
        "states": [(state, None if state in FINAL else counts.get(state, 0)) for state in State],
        "live": any(job.state not in FINAL for job in page),
        "may_submit": has_permission(request.user, Permission.SUBMIT_JOB),
    }
    return render(request, "jobs/list.html", context)
