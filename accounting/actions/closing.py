"""Closing a project or a lab, so that nothing dangles; and opening a project again. One transaction each, with `by`.

What ran there is ended by the workers (`jobs.offboarding`), who find it in the database within seconds.
"""

from __future__ import annotations

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from accounting.models import AllocationRequest
from portal import emails
from portal.actions import memberships
from portal.models import Institution, Invitation, JoinRequest, Lab, Membership, Project, Role, User
from portal.models.audit import record
from portal.permissions import Permission, check_permission
from portal.transitions import Overtaken, advance, step

State = Project.State
OPEN_REQUESTS = (*AllocationRequest.WITH_LAB, *AllocationRequest.WITH_CENTRE)


@transaction.atomic
def close_project(*, by: User, project: Project, reason: str) -> None:
    """No hours are asked for and no job is submitted any more; open requests are withdrawn. Its record stays."""
    check_permission(by, Permission.CLOSE_PROJECT, lab=project.lab)
    step(project, State.CLOSED, by=by, project=project, note=reason)
    _withdraw_requests(project, by=by, reason=reason)
    _mail("project_closed", project.lab, by=by, key=f"project {project.pk} closed {timezone.now():%s}",
          path=reverse("accounting:project", args=[project.slug]), title=project.title, reason=reason)  # fmt: skip


@transaction.atomic
def reopen_project(*, by: User, project: Project, reason: str) -> None:
    """By the centre: hours that its allocations still have can be used again."""
    check_permission(by, Permission.REOPEN_PROJECT, lab=project.lab)
    if project.state != State.CLOSED:
        raise Overtaken(
            _("Somebody was faster: this is already %(state)s.") % {"state": project.get_state_display()}
        )
    if project.lab.closed_at is not None:
        raise PermissionDenied(_("Its lab is closed: a project can't be open there."))
    step(project, State.ACTIVE, by=by, project=project, note=reason)


@transaction.atomic
def close_lab(*, by: User, lab: Lab, reason: str) -> None:
    """With all that hangs on it: projects close, requests are withdrawn, roles, invitations and wishes to join end."""
    check_permission(by, Permission.CLOSE_LAB, lab=lab)
    now = timezone.now()
    if not Lab.objects.filter(pk=lab.pk, closed_at=None).update(closed_at=now):
        raise Overtaken(_("Somebody was faster: this lab is already closed."))
    lab.closed_at = now
    record("lab closed", lab, by=by, note=reason)
    # Before the roles end: whoever has one hears of it.
    _mail("lab_closed", lab, by=by, key=f"lab {lab.pk} closed", path="/", title=lab.name, reason=reason)
    for project in lab.projects.filter(state__in=(State.ACTIVE, State.PROPOSED)):
        ended = State.CLOSED if project.state == State.ACTIVE else State.DECLINED
        step(project, ended, by=by, project=project, note=reason)
        _withdraw_requests(project, by=by, reason=reason)
    memberships.end_all(lab, by=by, reason=reason)
    for invitation in Invitation.objects.open().filter(lab=lab):
        Invitation.objects.filter(pk=invitation.pk).update(revoked_at=now)
        record("invitation revoked", invitation, by=by, note=reason)
    for wish in JoinRequest.objects.filter(lab=lab, state=JoinRequest.State.WAITING):
        advance(wish, JoinRequest.State.DECLINED, by=by, note=reason, decided_at=now)


def _withdraw_requests(project: Project, *, by: User, reason: str) -> None:
    """Those of the project, and transfers that were to come to it."""
    for request in AllocationRequest.objects.filter(state__in=OPEN_REQUESTS).filter(
        project=project
    ) | AllocationRequest.objects.filter(state__in=OPEN_REQUESTS, to_project=project):
        advance(request, AllocationRequest.State.WITHDRAWN, by=by, project=request.project, note=reason)


def _mail(template: str, lab: Lab, *, by: User, key: str, path: str, title: str, reason: str) -> None:
    """To everybody of the lab and the admins of its institution, but who did it."""
    current = Membership.objects.current().select_related("user")
    institution: Institution = lab.institution
    readers = {m.user_id: m.user for m in current.filter(lab=lab)} | {
        m.user_id: m.user for m in current.filter(institution=institution, role=Role.INSTITUTION_ADMIN)
    }
    for reader in readers.values():
        if reader.pk != by.pk:
            emails.post(
                template,
                to=reader,
                key=key,
                path=path,
                title=title,
                lab=lab.name,
                doer=by.name,
                reason=reason,
            )
