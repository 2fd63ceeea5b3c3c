"""Technical reviews: somebody of the centre is asked whether a request is sound. One transaction each, with `by`."""

from __future__ import annotations

from datetime import date
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from accounting.actions import notices
from accounting.actions.reviews import check_not_own
from accounting.models import AllocationRequest, TechnicalReview
from portal.models import User
from portal.models.audit import record
from portal.permissions import REFUSALS, Permission, check_permission, has_permission
from portal.transitions import Overtaken, overtaken, step

State = TechnicalReview.State


@transaction.atomic
def ask_for_review(*, by: User, request: AllocationRequest, reviewer: User, due: date) -> TechnicalReview:
    """Ask a colleague, until `due`. Who was called off can be asked again."""
    check_permission(by, Permission.ASK_FOR_REVIEW)
    if not request.is_waiting:
        raise overtaken(request)
    if not may_review(reviewer, request):
        raise PermissionDenied(_("Only colleagues who may decide on this request can review it."))
    asked: dict[str, Any] = {"asked_by": by, "asked_at": timezone.now(), "due": due}
    review, new = TechnicalReview.objects.get_or_create(request=request, reviewer=reviewer, defaults=asked)
    if new:
        record("technical review asked", review, by=by, project=request.project, due=str(due))
    elif review.state == State.CALLED_OFF:
        step(review, State.ASKED, by=by, project=request.project, **asked)
    else:
        raise Overtaken(_("%(reviewer)s was asked already.") % {"reviewer": reviewer})
    notices.review_asked(review)
    return review


@transaction.atomic
def write_review(*, by: User, review: TechnicalReview, score: int, comment: str) -> None:
    """Answer, with a score from 1 to 5. To answer is to declare that there is no conflict of interest."""
    check_reviewer(by, review)
    check_not_own(by, review.request)
    if not review.request.is_waiting:
        raise overtaken(review.request)
    step(
        review,
        State.WRITTEN,
        by=by,
        project=review.request.project,
        score=score,
        comment=comment,
        has_no_conflict=True,
        answered_at=timezone.now(),
    )


@transaction.atomic
def declare_conflict(*, by: User, review: TechnicalReview) -> None:
    """A conflict of interest: from now on they read no review of this request, and don't decide on it."""
    check_reviewer(by, review)
    step(review, State.CONFLICTED, by=by, project=review.request.project, answered_at=timezone.now())


@transaction.atomic
def call_off_review(*, by: User, review: TechnicalReview) -> None:
    check_permission(by, Permission.ASK_FOR_REVIEW)
    step(review, State.CALLED_OFF, by=by, project=review.request.project)


def may_review(user: User, request: AllocationRequest) -> bool:
    """Whether `user` can be asked: of the centre, and the request is not their own, nor their lab's or institution's."""
    return has_permission(user, Permission.DECIDE_REQUEST) and not request.is_of(user)


def check_reviewer(user: User, review: TechnicalReview) -> None:
    """Raise PermissionDenied with the sentence for people unless it is `user` who was asked."""
    check_permission(user, Permission.WRITE_REVIEW)
    if user.pk != review.reviewer_id:
        raise PermissionDenied(str(REFUSALS[Permission.WRITE_REVIEW]))
