"""What the centre answers to a request: return, approve (in part), agree or object as the second, reject.

One transaction each, with `by`. An award above the policy's threshold needs two people: the first approval proposes it
(endorsed), the second agrees to exactly that or objects.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from accounting.actions import notices
from accounting.actions.awards import carry_out
from accounting.actions.proposals import project_of_rejected
from accounting.models import (
    Allocation,
    AllocationRequest,
    FieldComment,
    Review,
    TechnicalReview,
    Tranche,
    policy_of,
)
from portal.models import User
from portal.models.people import CENTRE_ROLES
from portal.permissions import Permission, check_permission
from portal.transitions import Overtaken, overtaken, step

State = AllocationRequest.State
Verdict = Review.Verdict


@dataclass(frozen=True)
class Portion:
    """A part of an award that is granted on its day."""

    available_from: date
    gpu_seconds: int


@transaction.atomic
def return_request(
    *, by: User, request: AllocationRequest, comment: str, field_comments: Mapping[str, str] | None = None
) -> Review:
    """Ask the lab for changes: in general, and beside fields by their names of COMMENTABLE."""
    check_may_decide(by, request)
    step(request, State.RETURNED, by=by, project=request.project, decided_at=timezone.now())
    review = _write(request, Verdict.RETURNED, by=by, comment=comment)
    FieldComment.objects.bulk_create(
        FieldComment(review=review, field=field, text=text)
        for field, text in (field_comments or {}).items()
        if text
    )
    notices.returned(request, review)
    return review


@transaction.atomic
def reject_request(*, by: User, request: AllocationRequest, comment: str) -> Review:
    check_may_decide(by, request)
    step(request, State.REJECTED, by=by, project=request.project, decided_at=timezone.now())
    review = _write(request, Verdict.REJECTED, by=by, comment=comment)
    project_of_rejected(by=by, request=request)
    notices.rejected(request, review)
    return review


@transaction.atomic
def approve_request(
    *,
    by: User,
    request: AllocationRequest,
    gpu_seconds: int,
    comment: str = "",
    conditions: str = "",
    tranches: Iterable[Portion] = (),
    end: date | None = None,
) -> Allocation | None:
    """Award `gpu_seconds`, which may be fewer than were asked; None where a second approver has to agree first.

    `tranches` sum to the award; `end` is another last day than was asked, of an extension.
    """
    check_may_decide(by, request)
    if request.state != State.SUBMITTED:  # an endorsed one is agreed to, not approved anew
        raise overtaken(request)
    two = needs_two(request, gpu_seconds)
    if two:
        step(request, State.ENDORSED, by=by, project=request.project)
    else:
        step(request, State.APPROVED, by=by, project=request.project, decided_at=timezone.now())
    review = _write(
        request,
        Verdict.ENDORSED if two else Verdict.APPROVED,
        by=by,
        comment=comment,
        gpu_seconds_awarded=gpu_seconds,
        conditions=conditions,
        end_awarded=end,
    )
    _split(review, tranches)
    if two:
        notices.endorsed(request, review)
        return None
    return _award(request, review, by=by)


@transaction.atomic
def agree_to_award(
    *, by: User, request: AllocationRequest, endorsement: Review, comment: str = ""
) -> Allocation:
    """The second approval, of exactly what `endorsement` proposes."""
    check_may_agree(by, request)
    if request.state != State.ENDORSED:
        raise overtaken(request)
    step(request, State.APPROVED, by=by, project=request.project, decided_at=timezone.now())
    _check_latest(request, endorsement)
    review = _write(
        request,
        Verdict.APPROVED,
        by=by,
        comment=comment,
        gpu_seconds_awarded=endorsement.gpu_seconds_awarded,
        conditions=endorsement.conditions,
        end_awarded=endorsement.end_awarded,
    )
    _split(review, (Portion(one.available_from, one.gpu_seconds) for one in endorsement.tranches.all()))
    return _award(request, review, by=by)


@transaction.atomic
def object_to_award(*, by: User, request: AllocationRequest, endorsement: Review, comment: str) -> Review:
    """The second approver does not agree: the request waits for the centre again."""
    check_may_agree(by, request)
    if request.state != State.ENDORSED:
        raise overtaken(request)
    step(request, State.SUBMITTED, by=by, project=request.project)
    _check_latest(request, endorsement)
    review = _write(request, Verdict.OBJECTED, by=by, comment=comment)
    notices.objected(request, review, to=endorsement.reviewer)
    return review


# ── Who may? ─────────────────────────────────────────────────────────────────


def may_decide(user: User, request: AllocationRequest) -> bool:
    """Whether to offer the decision, the first or the second: deciding asks the same questions again."""
    try:
        check_may_decide(user, request)
    except PermissionDenied:
        return False
    return request.is_waiting


def check_may_decide(user: User, request: AllocationRequest) -> None:
    """Raise PermissionDenied with the sentence for people unless `user` may give the next answer to `request`."""
    check_permission(user, Permission.DECIDE_REQUEST)
    check_not_own(user, request)
    if _conflicted(user, request):
        raise PermissionDenied(
            _("You declared a conflict of interest on this request. A colleague has to decide.")
        )
    if request.lacks_consent:
        raise PermissionDenied(_("The receiving project's PI has not agreed to this transfer yet."))
    if request.state == State.ENDORSED:
        _check_second(user, request)


def check_may_agree(user: User, request: AllocationRequest) -> None:
    """As `check_may_decide`, for the second of two approvals."""
    check_may_decide(user, request)
    check_permission(user, Permission.AGREE_TO_AWARD)


def check_not_own(user: User, request: AllocationRequest) -> None:
    """Nobody decides on, or reviews, a request of their own, of their lab or of their institution."""
    if user.pk == request.created_by_id:
        raise PermissionDenied(_("Nobody decides on their own request. A colleague has to."))
    if request.is_of(user):
        raise PermissionDenied(
            _("Nobody decides on a request of their own lab or institution. A colleague has to.")
        )


def sees_advice(user: User, request: AllocationRequest) -> bool:
    """Whether `user` reads what the centre says among itself: technical reviews, first approvals, objections."""
    return bool(user.roles & {*CENTRE_ROLES}) and not request.is_of(user) and not _conflicted(user, request)


def needs_two(request: AllocationRequest, gpu_seconds: int) -> bool:
    """Whether the cluster's policy wants two approvers for an award of so much."""
    threshold = policy_of(request.cluster).two_approvers_above
    return threshold is not None and gpu_seconds > threshold


def _check_second(user: User, request: AllocationRequest) -> None:
    check_permission(user, Permission.AGREE_TO_AWARD)
    first = request.endorsement
    if first and first.reviewer_id == user.pk:
        raise PermissionDenied(_("You gave the first approval. Another approver has to agree."))


def _conflicted(user: User, request: AllocationRequest) -> bool:
    return any(
        review.reviewer_id == user.pk and review.state == TechnicalReview.State.CONFLICTED
        for review in request.technical_reviews.all()
    )


# ── What they share ──────────────────────────────────────────────────────────


def _write(
    request: AllocationRequest,
    verdict: str,
    *,
    by: User,
    comment: str,
    gpu_seconds_awarded: int = 0,
    conditions: str = "",
    end_awarded: date | None = None,
) -> Review:
    return Review.objects.create(
        request=request,
        reviewer=by,
        verdict=verdict,
        comment=comment,
        gpu_seconds_awarded=gpu_seconds_awarded,
        conditions=conditions,
        end_awarded=end_awarded,
    )


def _split(review: Review, portions: Iterable[Portion]) -> None:
    Tranche.objects.bulk_create(
        Tranche(review=review, available_from=portion.available_from, gpu_seconds=portion.gpu_seconds)
        for portion in portions
    )


def _award(request: AllocationRequest, review: Review, *, by: User) -> Allocation:
    allocation = carry_out(by=by, request=request, review=review)
    notices.approved(request, review)
    return allocation


def _check_latest(request: AllocationRequest, endorsement: Review) -> None:
    """Nobody agrees to another award than the one they read. Our own step has locked the request's row."""
    latest = Review.objects.filter(request=request).order_by("-pk").first()
    if latest is None or latest.pk != endorsement.pk:
        raise Overtaken(_("The first approval has changed since you read it. Read it again, then decide."))
