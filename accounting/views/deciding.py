"""The part of a request's page where the centre answers: decision, technical reviews, what the lab changed."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.db.models import Prefetch, prefetch_related_objects

from accounting.actions import reviews
from accounting.forms.reviews import DecisionForm
from accounting.forms.technical_reviews import WriteReviewForm
from accounting.models import AllocationRequest, Review, TechnicalReview
from accounting.reports import changes, decisions
from portal.models import User
from portal.models.people import CENTRE_ROLES
from portal.permissions import Permission, has_permission

# For the rows of `visible_to`: what was said of each, and by whom.
ANSWERS = Prefetch("reviews", Review.objects.select_related("reviewer"))
ADVICE = Prefetch("technical_reviews", TechnicalReview.objects.select_related("reviewer"))


def pane(
    user: User,
    asked: AllocationRequest,
    *,
    form: DecisionForm | None = None,
    write_form: WriteReviewForm | None = None,
) -> dict[str, Any]:
    """What the request's page shows of answers. A form that did not pass comes back as it was typed."""
    prefetch_related_objects([asked], ANSWERS, ADVICE, "reviews__tranches", "reviews__field_comments")
    inside = reviews.sees_advice(user, asked)
    context: dict[str, Any] = {
        "story": decisions.story(asked, inside=inside),
        "sees_advice": inside,
        "comments": changes.comments_of(asked),
    }
    return context | (_of_centre(user, asked, form, write_form) if user.roles & {*CENTRE_ROLES} else {})


def _of_centre(
    user: User,
    asked: AllocationRequest,
    form: DecisionForm | None,
    write_form: WriteReviewForm | None,
) -> dict[str, Any]:
    mine = next((one for one in asked.technical_reviews.all() if one.reviewer_id == user.pk), None)
    asks_me = mine is not None and mine.state == TechnicalReview.State.ASKED and asked.is_waiting
    return {
        "form": form or DecisionForm(asked=asked),
        "may_decide": reviews.may_decide(user, asked),
        "why_not": _why_not(user, asked),
        "history": decisions.history(asked.project.lab.institution_id),
        "changes": changes.since_return(asked) if asked.is_waiting else [],
        "threshold": _threshold(asked),
        "my_review": mine if asks_me else None,
        "write_form": (write_form or WriteReviewForm()) if asks_me else None,
        "may_ask": asked.is_waiting and has_permission(user, Permission.ASK_FOR_REVIEW),
    }


def colleagues(asked: AllocationRequest) -> list[User]:
    """Who can be asked for a technical review of it: of the centre, not asked yet, and not of that lab."""
    taken = [
        review.reviewer_id
        for review in asked.technical_reviews.all()
        if review.state != TechnicalReview.State.CALLED_OFF
    ]
    centre = User.objects.filter(
        is_active=True, memberships__role__in=CENTRE_ROLES, memberships__ended_at=None
    ).exclude(pk__in=taken)
    shown = centre.distinct().order_by("name", "pk").prefetch_related("memberships")
    return [person for person in shown if not asked.is_of(_known(person))]


def _known(person: User) -> User:
    """With the roles of today from what was fetched: no query for each colleague."""
    person.current_memberships = [m for m in person.memberships.all() if m.ended_at is None]
    return person


def _threshold(asked: AllocationRequest) -> int | None:
    """Above which award a second approver is needed, where the request asks for more."""
    policy = getattr(asked.cluster, "policy", None)
    threshold: int | None = policy.two_approvers_above if policy else None
    return threshold if threshold is not None and asked.gpu_seconds_asked > threshold else None


def _why_not(user: User, asked: AllocationRequest) -> str:
    """Why somebody of the centre can't give the next answer."""
    if not asked.is_waiting:
        return ""
    try:
        reviews.check_may_decide(user, asked)
    except PermissionDenied as denied:
        return str(denied)
    return ""
