"""Institutions and labs with what is in them, for pages and API. Read-only; the same few queries whatever the size."""

from __future__ import annotations

from typing import Any

from django.db.models import (
    CharField,
    Count,
    IntegerField,
    OuterRef,
    Prefetch,
    QuerySet,
    Subquery,
    Value,
)
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


def named_places(word: str) -> tuple[QuerySet[Lab], QuerySet[Institution]]:
    return Lab.objects.filter(name__icontains=word), Institution.objects.filter(name__icontains=word)


def words_of_places(words: list[str]) -> set[str]:
    """Those that stand in the name of a lab or an institution. One query.

    Most words that people look for don't. Then what they look for is found by an index of its own; a database does not
    use one where an OR runs over joined tables.
    """
    if not words:
        return set()
    one, *others = (
        rows.order_by().values_list(Value(word, CharField())) for word in words for rows in named_places(word)
    )
    return {word for (word,) in one.union(*others)}


MOST = 8


def applications_for(user: User) -> dict[str, QuerySet[Any]]:
    """By name, what waits for staff to say yes or no; Home counts it."""
    if not has_permission(user, Permission.MANAGE_INSTITUTIONS):
        return {}
    waiting = InstitutionApplication.State.WAITING
    return {"applications": InstitutionApplication.objects.filter(state=waiting)}


def join_requests_for(user: User) -> list[JoinRequest]:
    """For Home: who asks to join what the person leads."""
    if not user.roles & {Role.PI, Role.INSTITUTION_ADMIN}:
        return []
    asked = JoinRequest.objects.waiting().visible_to(user).exclude(user=user)
    return list(asked.select_related("user", "lab")[:MOST])
