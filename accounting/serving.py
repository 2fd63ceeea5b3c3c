"""Serving what people attached: nobody knows what a file does where it is opened, so no browser may open it here."""

from __future__ import annotations

from django.http import FileResponse

from accounting.models import Attachment

NOTHING_RUNS = "default-src 'none'; sandbox"


def as_file(attachment: Attachment) -> FileResponse:
    """To save, never to show."""
    response = FileResponse(
        attachment.stored_at.open("rb"),
        as_attachment=True,
        filename=attachment.name,
        content_type="application/pdf",
    )
    response["Content-Security-Policy"] = NOTHING_RUNS
    response["X-Content-Type-Options"] = "nosniff"
    response["Cache-Control"] = "private, no-store"
    return response
