"""The people page."""

from __future__ import annotations

from django.db.models import Exists, OuterRef, Prefetch, Q, QuerySet
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from portal.forms.people import PeopleSearch
from portal.lists import page_of
from portal.models import Membership, User
from portal.models.people import CENTRE_ROLES
from portal.permissions import Permission, check_permission
from portal.places import named_places, words_of_places
from portal.requests import PersonRequest
from portal.tabs import tabs


@require_safe
def people(request: PersonRequest) -> HttpResponse:
    """The people of my labs or my institution; for the centre, everybody."""
    check_permission(request.user, Permission.SEE_PEOPLE)
    form = PeopleSearch(request.GET)
    memberships = Membership.objects.current().visible_to(request.user)
    found = _matching(memberships, form.cleaned_data if form.is_valid() else {})
    shown = User.objects.prefetch_related(
        Prefetch(
            "memberships",
            memberships.select_related("lab__institution", "institution", "funder").order_by("role"),
            to_attr="shown_memberships",
        )
    )
    # An index has everybody in the order of names; few of them are of one's own places, and fewer fit a word.
    dear = "q" in request.GET and not request.user.roles & {*CENTRE_ROLES}
    page = page_of(request, found.order_by("name", "pk"), shown, dear=dear)
    filtered = any(form.cleaned_data.values())
    context = {"page": page, "form": form, "filtered": filtered, "tabs": tabs(request, request.user)}
    return render(request, "portal/people.html", context)


def _matching(memberships: QuerySet[Membership], wanted: dict[str, str]) -> QuerySet[User]:
    """The people of whom one role fits all that is wanted."""
    people = User.objects.all()
    if wanted.get("role"):
        memberships = memberships.filter(role=wanted["role"])
    words = wanted.get("q", "").split()
    of_places = words_of_places(words)
    for word in words:
        named = Q(name__icontains=word) | Q(email__icontains=word)
        if word in of_places:
            labs, institutions = named_places(word)
            there = Q(lab__in=labs) | Q(lab__institution__in=institutions) | Q(institution__in=institutions)
            memberships = memberships.filter(Q(user__in=User.objects.filter(named)) | there)
        else:
            people = people.filter(named)
    return people.filter(Exists(memberships.filter(user=OuterRef("pk"))))
