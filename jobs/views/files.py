"""A job's results: brought from the cluster when somebody asks, then served so that no browser ever runs them."""

from __future__ import annotations

from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_safe
from django_htmx.http import trigger_client_event

from jobs.models import Fetch, Job, JobFile
from jobs.serving import as_attachment, as_picture, is_here, picture_type, wanted
from portal.permissions import REFUSALS, Permission
from portal.requests import PersonRequest

MAX_PICTURE = 20 << 20


@require_safe
def file(request: PersonRequest, pk: int, file_pk: int) -> HttpResponseBase:
    """The file as a download; while it is on its way from the cluster, a page (or part) that waits for it."""
    fetch = wanted(_in_sight(request, pk, file_pk), by=request.user)
    if is_here(fetch) and not request.headers.get("HX-Request"):
        return as_attachment(fetch)
    return _on_its_way(request, fetch)


@require_safe
def fetch(request: PersonRequest, pk: UUID) -> HttpResponse:
    """Polled: how far the file is. When it is here, the download begins by itself."""
    asked = get_object_or_404(
        Fetch.objects.select_related("job_file__job__project__lab").filter(
            job_file__job__in=Job.objects.visible_to(request.user)
        ),
        pk=pk,
    )
    _check_readable(request, asked.job_file.job)
    return _on_its_way(request, asked)


@require_safe
def picture(request: PersonRequest, pk: int, file_pk: int) -> HttpResponseBase:
    """A PNG or JPEG as such, whatever it is called; anything else does not exist here."""
    shown = _in_sight(request, pk, file_pk)
    if shown.size > MAX_PICTURE:
        raise Http404
    found = wanted(shown, by=request.user)
    if request.headers.get("HX-Request"):
        context = {"file": shown, "fetch": found, "is_picture": is_here(found) and bool(picture_type(found))}
        return render(request, "jobs/picture.html", context)
    response = as_picture(found)
    if response is None:
        raise Http404
    return response


def _in_sight(request: PersonRequest, pk: int, file_pk: int) -> JobFile:
    job = get_object_or_404(Job.objects.visible_to(request.user).select_related("project__lab"), pk=pk)
    outputs = job.files.filter(kind=JobFile.Kind.OUTPUT).select_related("job__project__lab")
    found = get_object_or_404(outputs, pk=file_pk)
    _check_readable(request, job)
    return found


def _check_readable(request: PersonRequest, job: Job) -> None:
    if not job.files_readable_by(request.user):
        raise PermissionDenied(str(REFUSALS[Permission.READ_LAB_FILES]))


def _on_its_way(request: PersonRequest, fetch: Fetch) -> HttpResponse:
    file = fetch.job_file
    context = {"file": file, "job": file.job, "fetch": fetch, "here": is_here(fetch)}
    if not request.headers.get("HX-Request"):
        return render(request, "jobs/fetching.html", context)
    response = render(request, "jobs/fetch.html", context)
    if not is_here(fetch):
        return response
    url = reverse("jobs:file", args=[file.job_id, file.pk])
    return trigger_client_event(response, "download", {"url": url})
