"""The list of jobs: everything it shows is in the address."""

from __future__ import annotations

from django.core.paginator import Paginator
from django.db.models import Count
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from jobs.forms import JobFilter
from jobs.models import Job
from jobs.states import FINAL, State
from portal.permissions import Permission, has_permission
from portal.requests import PersonRequest

PER_PAGE = 50


@require_safe
def jobs(request: PersonRequest) -> HttpResponse:
    visible = Job.objects.visible_to(request.user)
    form = JobFilter(request.user, request.GET)
    found = form.narrow(visible)
    rows = found.select_related("owner", "project", "partition", "cluster").order_by(*form.order)
    page = Paginator(rows, PER_PAGE).get_page(request.GET.get("page"))
    counts = dict(visible.order_by().values_list("state").annotate(count=Count("pk")))
    context = {
        "form": form,
        "page": page,
        "filtered": any(name in request.GET for name in form.fields),
        "states": [(state, counts.get(state, 0)) for state in State],
        "live": any(job.state not in FINAL for job in page),
        "may_submit": has_permission(request.user, Permission.SUBMIT_JOB),
    }
    return render(request, "jobs/list.html", context)
