"""The people page."""

from __future__ import annotations

from typing import Any

from django.db.models import Prefetch, Q
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from portal.forms.people import PeopleSearch
from portal.lists import page_of
from portal.models import Institution, Lab, Membership, User
from portal.permissions import Permission, check_permission
from portal.requests import PersonRequest
from portal.tabs import tabs


@require_safe
def people(request: PersonRequest) -> HttpResponse:
    """The people of my labs or my institution; for the centre, everybody."""
    check_permission(request.user, Permission.SEE_PEOPLE)
    form = PeopleSearch(request.GET)
    memberships = Membership.objects.current().visible_to(request.user)
    members = _matching(memberships, form.cleaned_data if form.is_valid() else {})
    rows = User.objects.filter(pk__in=members).order_by("name", "pk")
    shown = User.objects.prefetch_related(
        Prefetch(
            "memberships",
            memberships.select_related("lab__institution", "institution", "funder"),
            to_attr="shown_memberships",
        )
    )
    page = page_of(request, rows, shown)
    filtered = any(form.cleaned_data.values())
    context = {"page": page, "form": form, "filtered": filtered, "tabs": tabs(request, request.user)}
    return render(request, "portal/people.html", context)


def _matching(memberships: Any, wanted: dict[str, str]) -> Any:
    """The keys of the people of whom one role fits all that is wanted."""
    if wanted.get("role"):
        memberships = memberships.filter(role=wanted["role"])
    words = wanted.get("q", "").split()
    for word in words[:-1]:
        memberships = memberships.filter(pk__in=_with_word(memberships, word, "pk"))
    return _with_word(memberships, words[-1], "user") if words else memberships.order_by().values("user")


def _with_word(memberships: Any, word: str, key: str) -> Any:
    # Each by itself: a database finds words by its indexes, but not where an OR runs over joined tables.
    named = User.objects.filter(Q(name__icontains=word) | Q(email__icontains=word))
    institutions = Institution.objects.filter(name__icontains=word)
    labs = Lab.objects.filter(Q(name__icontains=word) | Q(institution__in=institutions))
    one, *others = (
        memberships.filter(**{f"{place}__in": rows.order_by().values("pk")}).order_by().values(key)
        for place, rows in (("user", named), ("lab", labs), ("institution", institutions))
    )
    return one.union(*others)
