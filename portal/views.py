"""The people page, and what every page answers when something is wrong."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.core.paginator import Paginator
from django.db.models import Prefetch, Q
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views import defaults
from django.views.decorators.http import require_safe

from portal import api
from portal.forms import PeopleSearch
from portal.models import Membership, User
from portal.permissions import Permission, check_permission
from portal.requests import PersonRequest

PER_PAGE = 50


@require_safe
def people(request: PersonRequest) -> HttpResponse:
    """The people of my labs or my institution; for the centre, everybody."""
    check_permission(request.user, Permission.SEE_PEOPLE)
    form = PeopleSearch(request.GET)
    memberships = Membership.objects.current().visible_to(request.user)
    found = _matching(memberships, form.cleaned_data) if form.is_valid() else memberships
    shown = User.objects.filter(memberships__in=found).distinct().order_by("name", "pk")
    rows = shown.prefetch_related(
        Prefetch(
            "memberships",
            memberships.select_related("lab__institution", "institution", "funder"),
            to_attr="shown_memberships",
        )
    )
    page = Paginator(rows, PER_PAGE).get_page(request.GET.get("page"))
    filtered = any(form.cleaned_data.values())
    return render(request, "portal/people.html", {"page": page, "form": form, "filtered": filtered})


def _matching(memberships: Any, wanted: dict[str, str]) -> Any:
    if wanted.get("role"):
        memberships = memberships.filter(role=wanted["role"])
    for word in wanted.get("q", "").split():
        memberships = memberships.filter(
            Q(user__name__icontains=word)
            | Q(user__email__icontains=word)
            | Q(lab__name__icontains=word)
            | Q(lab__institution__name__icontains=word)
            | Q(institution__name__icontains=word)
        )
    return memberships


# ── When something is wrong. The API gets a problem document, people a page. ──


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    if api.is_api(request):
        too_large = isinstance(exception, RequestDataTooBig)
        return api.problem(413 if too_large else 400, _("The request is too large, or can't be read."))
    return defaults.bad_request(request, exception)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    if api.is_api(request):
        return api.problem(403, str(exception) or _("You may not do this."))
    return defaults.permission_denied(request, exception)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """The same bytes for what is not there and for what is not yours to see: nothing of the request is repeated."""
    if api.is_api(request):
        return api.not_found_document()
    return render(request, "404.html", status=404)


def broken(request: HttpRequest) -> HttpResponseBase:
    if api.is_api(request):
        return api.problem(
            500, _("Something went wrong on our side. It was logged, and nothing was changed.")
        )
    return defaults.server_error(request)
