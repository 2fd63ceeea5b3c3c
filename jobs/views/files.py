"""A job's results: brought from the cluster when somebody asks, then served so that no browser ever runs them."""

from __future__ import annotations

from pathlib import PurePosixPath
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.http import FileResponse, Http404, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_safe
from django_htmx.http import trigger_client_event

from jobs import actions
from jobs.models import Fetch, Job, JobFile
from portal.permissions import REFUSALS, Permission
from portal.requests import PersonRequest

PICTURES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}
MAX_PICTURE = 20 << 20
NOTHING_RUNS = "default-src 'none'; sandbox"


@require_safe
def file(request: PersonRequest, pk: int, file_pk: int) -> HttpResponseBase:
    """The file as a download; while it is on its way from the cluster, a page (or part) that waits for it."""
    wanted = _in_sight(request, pk, file_pk)
    fetch = fetched(actions.want_file(by=request.user, file=wanted))
    if is_here(fetch) and not request.headers.get("HX-Request"):
        return as_attachment(fetch)
    return _on_its_way(request, fetch)


@require_safe
def fetch(request: PersonRequest, pk: UUID) -> HttpResponse:
    """Polled: how far the file is. When it is here, the download begins by itself."""
    wanted = get_object_or_404(
        Fetch.objects.select_related("job_file__job__project__lab").filter(
            job_file__job__in=Job.objects.visible_to(request.user)
        ),
        pk=pk,
    )
    _check_readable(request, wanted.job_file.job)
    return _on_its_way(request, wanted)


@require_safe
def picture(request: PersonRequest, pk: int, file_pk: int) -> HttpResponseBase:
    """A PNG or JPEG as such, whatever it is called; anything else does not exist here."""
    wanted = _in_sight(request, pk, file_pk)
    if wanted.size > MAX_PICTURE:
        raise Http404
    found = fetched(actions.want_file(by=request.user, file=wanted))
    if request.headers.get("HX-Request"):
        context = {"file": wanted, "fetch": found, "is_picture": is_here(found) and bool(picture_type(found))}
        return render(request, "jobs/picture.html", context)
    kind = picture_type(found) if is_here(found) else ""
    if not kind:
        raise Http404
    return _guarded(FileResponse(found.stored_at.open("rb"), content_type=kind))


def is_here(fetch: Fetch) -> bool:
    return fetch.state == Fetch.State.READY and fetch.stored_at.is_file()


def fetched(fetch: Fetch) -> Fetch:
    """A fetch that says ready but whose file was cleared away has to be done again: it becomes a failed one."""
    if fetch.state == Fetch.State.READY and not is_here(fetch):
        Fetch.objects.filter(pk=fetch.pk).update(state=Fetch.State.FAILED)
        return actions.want_file(by=fetch.asked_by, file=fetch.job_file)
    return fetch


def as_attachment(fetch: Fetch) -> FileResponse:
    name = PurePosixPath(fetch.job_file.path).name
    return _guarded(
        FileResponse(
            fetch.stored_at.open("rb"),
            as_attachment=True,
            filename=name,
            content_type="application/octet-stream",
        )
    )


def picture_type(fetch: Fetch) -> str:
    """By its first bytes, never by its name. Empty: no picture."""
    with fetch.stored_at.open("rb") as content:
        start = content.read(8)
    return next((kind for magic, kind in PICTURES.items() if start.startswith(magic)), "")


def _guarded(response: FileResponse) -> FileResponse:
    response["Content-Security-Policy"] = NOTHING_RUNS
    response["X-Content-Type-Options"] = "nosniff"
    response["Cache-Control"] = "private, no-store"
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
