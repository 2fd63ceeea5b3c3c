"""PDFs beside a request: attached and taken away while its lab still works on it."""

from __future__ import annotations

from collections.abc import Iterable

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from accounting.actions.authors import check_may_write
from accounting.attaching import Received, clean_name, receive
from accounting.models import AllocationRequest, Attachment
from portal.models import User
from portal.models.audit import record
from portal.transitions import Overtaken

MOST = 10


def attach(*, by: User, request: AllocationRequest, name: str, chunks: Iterable[bytes]) -> Attachment:
    """Keep a PDF beside `request`. Raises ValidationError with the sentence that says why it can't be kept."""
    _check_may_change(by, request)
    received = receive(chunks)
    try:
        return _keep(by, request, clean_name(name), received)
    finally:
        received.path.unlink(missing_ok=True)


@transaction.atomic
def _keep(by: User, request: AllocationRequest, name: str, received: Received) -> Attachment:
    """Count under a lock on the request's row, so that two who attach at once don't go beyond the limit."""
    locked = AllocationRequest.objects.select_for_update().get(pk=request.pk)
    _check_may_change(by, locked)
    if locked.attachments.count() >= MOST:
        raise ValidationError(
            _("A request has at most %(most)s attachments. Remove one first.") % {"most": MOST}
        )
    try:
        with transaction.atomic():
            attachment = Attachment.objects.create(
                request=locked,
                name=name,
                size=received.size,
                pages=received.pages,
                sha256=received.sha256,
                added_by=by,
            )
    except IntegrityError:
        raise ValidationError(_("This file is attached already.")) from None
    attachment.stored_at.parent.mkdir(parents=True, exist_ok=True)
    received.path.rename(attachment.stored_at)
    record("attachment added", request, by=by, project=request.project, name=name, sha256=received.sha256)
    return attachment


@transaction.atomic
def remove_attachment(*, by: User, attachment: Attachment) -> None:
    _check_may_change(by, attachment.request)
    stored_at, told = attachment.stored_at, {"name": attachment.name, "sha256": attachment.sha256}
    attachment.delete()
    record("attachment removed", attachment.request, by=by, project=attachment.request.project, **told)
    transaction.on_commit(lambda: stored_at.unlink(missing_ok=True))


def _check_may_change(by: User, request: AllocationRequest) -> None:
    check_may_write(by, request)
    if not request.is_open:
        raise Overtaken(_("This request can no longer be changed."))
