"""Whom each step of a request is mailed: those whose turn it is, and those who asked. Each step mails a person once."""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models import Q, QuerySet
from django.urls import reverse

from accounting.models import AllocationRequest, Review, TechnicalReview
from portal.emails import people_with, post
from portal.models import Membership, Role, User
from portal.models.people import CENTRE_ROLES


def submitted(request: AllocationRequest, number: int) -> None:
    """To who decides: a request came, or came back, for the `number`th time."""
    for person in _centre(request, *CENTRE_ROLES):
        _post("request_submitted", person, request, f"submitted {number}", number=number)


def review_asked(review: TechnicalReview) -> None:
    key = f"review {review.pk} asked {review.asked_at.isoformat()}"
    _post("review_asked", review.reviewer, review.request, key, due=review.due.isoformat())


def endorsed(request: AllocationRequest, review: Review) -> None:
    """To who may give the second approval."""
    first = str(review.reviewer)
    for person in _centre(request, Role.APPROVER):
        if person != review.reviewer:
            _post(
                "request_endorsed",
                person,
                request,
                f"endorsed {review.pk}",
                first=first,
                awarded=review.gpu_seconds_awarded,
            )


def objected(request: AllocationRequest, review: Review, *, to: User | None) -> None:
    """To who gave the first approval."""
    if to:
        words = {"second": str(review.reviewer), "comment": review.comment}
        _post("request_objected", to, request, f"objected {review.pk}", **words)


def returned(request: AllocationRequest, review: Review) -> None:
    for person in _lab(request):
        _post("request_returned", person, request, f"returned {review.pk}", comment=review.comment)


def rejected(request: AllocationRequest, review: Review) -> None:
    for person in _lab(request):
        _post("request_rejected", person, request, f"rejected {review.pk}", comment=review.comment)


def approved(request: AllocationRequest, review: Review) -> None:
    for person in _lab(request):
        _post(
            "request_approved",
            person,
            request,
            f"approved {review.pk}",
            path=reverse("accounting:letter", args=[request.pk]),
            awarded=review.gpu_seconds_awarded,
            conditions=review.conditions,
            comment=review.comment if review.reviewer else "",
        )


def _post(
    template: str, to: User, request: AllocationRequest, key: str, path: str = "", **words: str | int
) -> None:
    post(
        template,
        to=to,
        key=f"request {request.pk} {key}",
        path=path or reverse("accounting:request", args=[request.pk]),
        seal=None,
        project=request.project.title,
        lab=request.project.lab.name,
        asked=request.gpu_seconds_asked,
        **words,
    )


def _centre(request: AllocationRequest, *roles: str) -> Iterable[User]:
    """Those of the centre who can decide: not who asked, nor whose own lab or institution it is."""
    lab = request.project.lab
    own = Membership.objects.current().filter(Q(lab=lab) | Q(institution=lab.institution_id))
    people: QuerySet[User] = User.objects.filter(pk__in=[person.pk for person in people_with(*roles)])
    return people.exclude(pk=request.created_by_id).exclude(pk__in=own.values("user"))


def _lab(request: AllocationRequest) -> Iterable[User]:
    """Who asked, and the lab's PIs."""
    pis = Membership.objects.current().filter(lab=request.project.lab, role=Role.PI)
    return User.objects.filter(Q(pk=request.created_by_id) | Q(pk__in=pis.values("user")), is_active=True)
