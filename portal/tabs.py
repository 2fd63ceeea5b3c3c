"""The lists that share the rail's entry People: one row of tabs above each of them, by what a person may open."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from portal.models import User
from portal.permissions import Permission, has_permission

LISTS: tuple[tuple[str, Promise, Permission], ...] = (
    ("portal:people", _("People"), Permission.SEE_PEOPLE),
    ("portal:institutions", _("Institutions"), Permission.SEE_PEOPLE),
    ("portal:invitations", _("Invitations"), Permission.INVITE),
    ("portal:applications", _("Applications"), Permission.MANAGE_INSTITUTIONS),
)


@dataclass(frozen=True)
class Tab:
    url: str
    label: Promise
    active: bool


def tabs(request: HttpRequest, user: User) -> list[Tab]:
    here = request.resolver_match.view_name if request.resolver_match else ""
    return [
        Tab(reverse(name), label, active=name == here)
        for name, label, permission in LISTS
        if has_permission(user, permission)
    ]
