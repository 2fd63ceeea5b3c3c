"""What every page's frame needs: the centre's name, the rail by role, the person's roles in words.

A page of an app that isn't installed is left out of the rail instead of breaking it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.functional import Promise, SimpleLazyObject
from django.utils.translation import gettext_lazy as _

from portal.models import Role
from portal.permissions import Permission, has_permission

ALL = frozenset(Role)
LAB = frozenset({Role.MEMBER, Role.PI})
CENTRE = frozenset({Role.STAFF, Role.APPROVER})


@dataclass(frozen=True)
class Place:
    """One possible entry of the rail: who gets it, and where it leads."""

    url_name: str
    label: Promise
    icon: str
    roles: frozenset[Role]
    also: str = ""  # another page's URL name; the pages below that belong here too
    pages: frozenset[str] = frozenset()  # URL names of pages that belong here and lie elsewhere


@dataclass(frozen=True)
class Entry:
    url: str
    label: Promise
    icon: str
    active: bool


ANSWERS = frozenset(
    f"accounting:{name}"
    for name in (
        "calls",
        "call_new",
        "call_edit",
        "policies",
        "policy",
        "prices",
        "refunds",
        "corrections",
        "correction",
    )
)
# A role gets at most seven. Whoever decides on requests gets the queue instead of the list of their own.
PLACES = (
    Place("jobs:list", _("Jobs"), "list-details", LAB | CENTRE | {Role.INSTITUTION_ADMIN}),
    Place(
        "accounting:projects",
        _("Projects"),
        "folders",
        LAB | CENTRE | {Role.INSTITUTION_ADMIN},
        pages=frozenset(
            {
                "accounting:statement",
                "accounting:allocation",
                "accounting:allocation_suspend",
                "accounting:allocation_adjust",
                "accounting:allocation_caps",
                "accounting:report_write",
            }
        ),
    ),
    Place(
        "accounting:queue",
        _("Requests"),
        "clipboard-check",
        CENTRE,
        also="accounting:requests",
        pages=ANSWERS,
    ),
    Place(
        "accounting:requests",
        _("Requests"),
        "clipboard-check",
        frozenset({Role.PI, Role.INSTITUTION_ADMIN}),
        pages=ANSWERS,
    ),
    Place("accounting:report", _("Reports"), "chart-bar", CENTRE | {Role.FUNDER}),
    Place(
        "portal:people",
        _("People"),
        "users",
        LAB | CENTRE | {Role.INSTITUTION_ADMIN},
        also="portal:institutions",
        pages=frozenset(
            {
                "portal:invitations",
                "portal:centre_invite",
                "portal:lab",
                "portal:lab_invite",
                "portal:lab_invite_many",
                "portal:lab_close",
                "portal:membership_end",
                "portal:membership_role",
                "portal:membership_move",
                "portal:access_off",
                "portal:second_factor_reset",
            }
        ),
    ),
    Place(
        "jobs:clusters",
        _("Cluster"),
        "server-2",
        frozenset({Role.STAFF}),
        pages=frozenset(
            {
                "accounting:months",
                "accounting:quarantine",
                "accounting:quarantined_record",
                "accounting:differences",
                "accounting:difference",
                "jobs:health",
                "jobs:unsent",
                "jobs:give_up",
            }
        ),
    ),
)
HOME = Place("home", _("Home"), "home", ALL)


def frame(request: HttpRequest) -> dict[str, Any]:
    """Context processor. Lazy: a polled fragment has no rail and must not pay for one."""
    return {
        "centre_name": settings.CENTRE_NAME,
        "rail": SimpleLazyObject(partial(rail, request)),
        "role_words": SimpleLazyObject(partial(role_words, request)),
        "may_see_audit": SimpleLazyObject(partial(may_see_audit, request)),
    }


def rail(request: HttpRequest) -> list[Entry]:
    if not request.user.is_authenticated:
        return []
    found = [(place, url) for place in _places_for(request.user.roles) if (url := _url(place.url_name))]
    here = max((url for place, url in found if _leads(place, request)), key=len, default="")
    return [Entry(url, place.label, place.icon, active=url == here) for place, url in found]


def role_words(request: HttpRequest) -> str:
    """ "PI, approver": what the person is, for the menu."""
    if not request.user.is_authenticated:
        return ""
    return ", ".join(str(role.label) for role in Role if role in request.user.roles)


def may_see_audit(request: HttpRequest) -> bool:
    return request.user.is_authenticated and has_permission(request.user, Permission.SEE_AUDIT)


def _places_for(roles: frozenset[str]) -> Iterator[Place]:
    yield HOME
    taken: set[str] = set()
    for place in PLACES:
        if place.roles & roles and str(place.label) not in taken:
            taken.add(str(place.label))
            yield place


def _url(name: str) -> str:
    try:
        return reverse(name) if name else ""
    except NoReverseMatch:
        return ""


def _leads(place: Place, request: HttpRequest) -> bool:
    """Whether the page that is asked for belongs to this entry."""
    page = request.resolver_match.view_name if request.resolver_match else ""
    return page in place.pages or any(
        _covers(_url(name), request.path) for name in (place.url_name, place.also)
    )


def _covers(url: str, path: str) -> bool:
    """Every path begins with "/", so Home is only itself."""
    return path == url or (url not in ("", "/") and path.startswith(url))
