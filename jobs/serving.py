"""Serving files that jobs wrote: nobody knows what is in them, so no browser may ever run them here."""

from __future__ import annotations

from pathlib import PurePosixPath

from django.http import FileResponse

from jobs import actions
from jobs.models import Fetch, JobFile
from portal.models import User

PICTURES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}
NOTHING_RUNS = "default-src 'none'; sandbox"


def is_here(fetch: Fetch) -> bool:
    return fetch.state == Fetch.State.READY and fetch.stored_at.is_file()


def wanted(file: JobFile, *, by: User) -> Fetch:
    """Have the file brought here. A fetch that says ready but whose file was cleared away is done again."""
    fetch = actions.want_file(by=by, file=file)
    if fetch.state == Fetch.State.READY and not is_here(fetch):
        Fetch.objects.filter(pk=fetch.pk).update(state=Fetch.State.FAILED)
        return actions.want_file(by=by, file=file)
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


def as_picture(fetch: Fetch) -> FileResponse | None:
    """A PNG or JPEG as such; None for anything else."""
    kind = picture_type(fetch) if is_here(fetch) else ""
    return _guarded(FileResponse(fetch.stored_at.open("rb"), content_type=kind)) if kind else None


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
