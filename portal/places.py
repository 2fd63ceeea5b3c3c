"""Institutions and labs with what is in them, for pages and API. Read-only; the same few queries whatever the size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Count, IntegerField, OuterRef, Prefetch, QuerySet, Subquery
from django.db.models.functions import Coalesce

from portal.models import (
    Institution,
    InstitutionApplication,
    JoinRequest,
    Lab,
    Membership,
    Project,
    Role,
    User,
)
from portal.permissions import Permission, has_permission


def institutions_with_counts(institutions: QuerySet[Institution]) -> QuerySet[Institution]:
    """Each with `labs_count` and `people_count`."""
    people = Membership.objects.current().filter(lab__institution=OuterRef("pk"))
    return institutions.annotate(
        labs_count=_count(Lab.objects.filter(institution=OuterRef("pk")), "institution"),
        people_count=_count(people, "lab__institution", "user"),
    )


def labs_with_counts(labs: QuerySet[Lab]) -> QuerySet[Lab]:
    """Each with `pis` (memberships), `people_count` and `projects_count`."""
    people = Membership.objects.current().filter(lab=OuterRef("pk"))
    leading = Membership.objects.current().filter(role=Role.PI).select_related("user")
    return labs.prefetch_related(Prefetch("memberships", leading, to_attr="pis")).annotate(
        people_count=_count(people, "lab", "user"),
        projects_count=_count(Project.objects.filter(lab=OuterRef("pk")), "lab"),
    )


def _count(
    rows: QuerySet[Lab] | QuerySet[Membership] | QuerySet[Project], by: str, what: str = "pk"
) -> Coalesce:
    number = rows.order_by().values(by).annotate(number=Count(what, distinct=True)).values("number")
    return Coalesce(Subquery(number, output_field=IntegerField()), 0)


@dataclass(frozen=True)
class Waiting:
    """Who waits for this person to say yes or no."""

    applications: int
    join_requests: Sequence[JoinRequest]


MOST = 8


def waiting_for(user: User) -> Waiting:
    """For staff the institutions' applications; for who leads labs, requests to join."""
    applications = InstitutionApplication.objects.filter(state=InstitutionApplication.State.WAITING)
    decides = user.roles & {Role.PI, Role.INSTITUTION_ADMIN}
    asked = JoinRequest.objects.waiting().visible_to(user).exclude(user=user).select_related("user", "lab")
    return Waiting(
        applications.count() if has_permission(user, Permission.MANAGE_INSTITUTIONS) else 0,
        list(asked[:MOST]) if decides else [],
    )
