"""A transfer needs the consent of who leads the receiving project, before the centre decides on it."""

from __future__ import annotations

from django.db import transaction
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from accounting.actions.receiving import receive
from accounting.models import AllocationRequest
from accounting.units import hours
from portal.emails import post
from portal.models import Lab, Membership, Project, Role, User
from portal.models.audit import record
from portal.permissions import Permission, check_permission, has_permission
from portal.transitions import Overtaken, step
from portal.words import figure

State = AllocationRequest.State


def ask(*, by: User, request: AllocationRequest) -> None:
    """Have the receiving project's PIs asked. Who leads both projects has agreed by sending the request."""
    if has_permission(by, Permission.ACCEPT_TRANSFER, lab=_receiver(request).lab):
        give(by=by, request=request)
        return
    for pi in _leaders(_receiver(request).lab):
        post(
            "transfer_consent",
            to=pi,
            key=f"request {request.pk} consent {request.submitted_at}",
            path=reverse("accounting:request_consent", args=[request.pk]),
            project=request.project.title,
            receiver=_receiver(request).title,
            hours=figure(hours(request.gpu_seconds_asked)),
        )


@transaction.atomic
def give(*, by: User, request: AllocationRequest) -> None:
    """Agree: from now on the request waits for the centre."""
    check_permission(by, Permission.ACCEPT_TRANSFER, lab=_receiver(request).lab)
    unanswered = AllocationRequest.objects.unanswered().filter(pk=request.pk)
    if not unanswered.update(consented_by=by, consented_at=timezone.now()):
        raise Overtaken(_("This transfer does not wait for an answer any more."))
    request.refresh_from_db(fields=["consented_by", "consented_at"])
    record("allocation request consented", request, by=by, project=request.project)
    receive(request)


@transaction.atomic
def decline(*, by: User, request: AllocationRequest, reason: str = "") -> None:
    """Don't agree: the request goes back to the lab that offered the hours."""
    check_permission(by, Permission.ACCEPT_TRANSFER, lab=_receiver(request).lab)
    if not AllocationRequest.objects.unanswered().filter(pk=request.pk).exists():
        raise Overtaken(_("This transfer does not wait for an answer any more."))
    record("allocation request not consented", request, by=by, project=request.project, note=reason)
    step(request, State.RETURNED, by=by, project=request.project)
    post(
        "transfer_declined",
        to=request.created_by,
        key=f"request {request.pk} declined {request.submitted_at}",
        path=reverse("accounting:request", args=[request.pk]),
        project=request.project.title,
        reason=reason,
    )


def _receiver(request: AllocationRequest) -> Project:
    if request.to_project is None:
        raise ValueError(f"request {request.pk} has no receiver")
    return request.to_project


def _leaders(lab: Lab) -> list[User]:
    held = Membership.objects.current().in_lab(lab).filter(role=Role.PI, user__is_active=True)
    return [membership.user for membership in held.select_related("user")]
