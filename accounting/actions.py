"""What people do about GPU-hours: ask, return, approve (in part), reject, withdraw. One transaction each, with `by`."""

from __future__ import annotations

from datetime import date
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from accounting import ledger
from accounting.models import Allocation, AllocationRequest, Cluster, Review
from portal.models import Project, User
from portal.models.audit import record
from portal.permissions import Permission, check_permission
from portal.transitions import advance

State = AllocationRequest.State


class Overtaken(Exception):
    """Somebody else was first: the thing is no longer in the state that the person saw. The message is for them."""


@transaction.atomic
def request_hours(
    *,
    by: User,
    project: Project,
    cluster: Cluster,
    gpu_seconds: int,
    start: date,
    end: date,
    justification: str,
    kind: str = AllocationRequest.Kind.NEW,
    submit: bool = True,
) -> AllocationRequest:
    """Ask for `gpu_seconds` for a project; with `submit` it goes to the centre at once, otherwise it stays a draft."""
    check_permission(by, Permission.REQUEST_HOURS, lab=project.lab)
    if project.state != Project.State.ACTIVE:
        raise PermissionDenied(
            _("This project is %(state)s. Hours are asked for active projects.")
            % {"state": project.get_state_display()}
        )
    request = AllocationRequest.objects.create(
        project=project,
        cluster=cluster,
        kind=kind,
        gpu_seconds_asked=gpu_seconds,
        start=start,
        end=end,
        justification=justification,
        created_by=by,
    )
    record("allocation request drafted", request, by=by, project=project, gpu_seconds=gpu_seconds)
    if submit:
        submit_request(by=by, request=request)
    return request


@transaction.atomic
def change_request(
    *,
    by: User,
    request: AllocationRequest,
    cluster: Cluster,
    gpu_seconds: int,
    start: date,
    end: date,
    justification: str,
    submit: bool = False,
) -> None:
    """Change a draft or a returned request. What the centre is reading can't change under its eyes."""
    check_permission(by, Permission.REQUEST_HOURS, lab=request.project.lab)
    changed = AllocationRequest.objects.filter(pk=request.pk, state__in=(State.DRAFT, State.RETURNED)).update(
        cluster=cluster, gpu_seconds_asked=gpu_seconds, start=start, end=end, justification=justification
    )
    if not changed:
        raise Overtaken(_("This request can no longer be changed."))
    record("allocation request changed", request, by=by, project=request.project, gpu_seconds=gpu_seconds)
    if submit:
        submit_request(by=by, request=request)


@transaction.atomic
def submit_request(*, by: User, request: AllocationRequest) -> None:
    """Send a draft, or a returned request, to the centre."""
    check_permission(by, Permission.REQUEST_HOURS, lab=request.project.lab)
    _move(request, State.SUBMITTED, by=by, submitted_at=timezone.now())


@transaction.atomic
def withdraw_request(*, by: User, request: AllocationRequest) -> None:
    check_permission(by, Permission.REQUEST_HOURS, lab=request.project.lab)
    _move(request, State.WITHDRAWN, by=by)


@transaction.atomic
def return_request(*, by: User, request: AllocationRequest, comment: str) -> Review:
    """Ask the lab for changes."""
    return _decide(request, State.RETURNED, by=by, comment=comment)


@transaction.atomic
def reject_request(*, by: User, request: AllocationRequest, comment: str) -> Review:
    return _decide(request, State.REJECTED, by=by, comment=comment)


@transaction.atomic
def approve_request(
    *, by: User, request: AllocationRequest, gpu_seconds: int, comment: str = ""
) -> Allocation:
    """Award `gpu_seconds`, which may be fewer than were asked: an allocation, and its grant in the ledger."""
    review = _decide(request, State.APPROVED, by=by, comment=comment, gpu_seconds=gpu_seconds)
    allocation = Allocation.objects.create(
        project=request.project, cluster=request.cluster, start=request.start, end=request.end
    )
    ledger.grant(allocation, gpu_seconds, review=review, by=by)
    record(
        "hours granted",
        allocation,
        by=by,
        project=request.project,
        gpu_seconds=gpu_seconds,
        request=request.pk,
    )
    return allocation


def may_decide(user: User, request: AllocationRequest) -> bool:
    """Whether to offer the decision: deciding asks the same questions again."""
    try:
        check_may_decide(user, request)
    except PermissionDenied:
        return False
    return request.state == State.SUBMITTED


def check_may_decide(user: User, request: AllocationRequest) -> None:
    """Raise PermissionDenied with the sentence for people unless `user` may decide on `request`."""
    check_permission(user, Permission.DECIDE_REQUEST)
    if user.pk == request.created_by_id:
        raise PermissionDenied(_("Nobody decides on their own request. A colleague has to."))
    if any(m.lab_id == request.project.lab_id for m in user.current_memberships):
        raise PermissionDenied(_("Nobody decides on a request of their own lab. A colleague has to."))


def _decide(
    request: AllocationRequest, state: str, *, by: User, comment: str, gpu_seconds: int = 0
) -> Review:
    check_may_decide(by, request)
    _move(request, state, by=by, decided_at=timezone.now())
    return Review.objects.create(
        request=request, reviewer=by, verdict=state, gpu_seconds_awarded=gpu_seconds, comment=comment
    )


def _move(request: AllocationRequest, state: str, *, by: User, **fields: Any) -> None:
    if state not in AllocationRequest.MOVES[State(request.state)] or not advance(
        request, state, by=by, project=request.project, **fields
    ):
        raise Overtaken(
            _("Somebody was faster: this request is already %(state)s.") % {"state": _state_now(request)}
        )


def _state_now(request: AllocationRequest) -> str:
    request.refresh_from_db()
    return request.get_state_display()
