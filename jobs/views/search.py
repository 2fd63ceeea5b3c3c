"""The top bar's search: whatever I may see that is called so, by kind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.db.models import Q
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from accounting.models import AllocationRequest
from jobs.models import Job
from portal.countries import name_of
from portal.models import Institution, Lab, Membership, Project, User
from portal.models.among import among
from portal.models.people import CENTRE_ROLES
from portal.permissions import Permission, has_permission
from portal.requests import PersonRequest

MOST = 5
LONGEST = 200


@dataclass(frozen=True)
class Found:
    """One thing: what it is called, what helps to tell it from others, and its page (empty: it has none)."""

    name: str
    hint: str
    url: str


@dataclass(frozen=True)
class Group:
    """What was found of one kind; `more` leads to all of it, where there is more and a page for it."""

    title: Promise
    icon: str
    found: list[Found]
    more: str = ""


@require_safe
def search(request: PersonRequest) -> HttpResponse:
    words = request.GET.get("q", "").replace("\0", "").strip()[:LONGEST]
    groups = [group for group in _groups(request.user, words) if group.found] if words else []
    return render(request, "jobs/search.html", {"q": words, "groups": groups})


def _groups(user: User, words: str) -> Iterator[Group]:
    """At most one query for each kind. Each begins from what the person may see."""
    projects = Project.objects.visible_to(user).select_related("lab__institution")
    requests = AllocationRequest.objects.visible_to(user).select_related("project", "cluster")
    yield _group(_("Jobs"), "list-details", _jobs(user, words), _job, _list("jobs:list", words))
    yield _group(
        _("Projects"),
        "folders",
        _like(projects, words, "title", "slug", "account").order_by("title", "pk"),
        lambda one: Found(
            one.title, f"{one.lab}, {one.lab.institution}", reverse("accounting:project", args=[one.slug])
        ),
        _list("accounting:projects", words),
    )
    yield _group(
        _("Requests"),
        "clipboard-check",
        _numbered(requests, words)
        | requests.filter(among("project", _like(Project.objects.all(), words, "title").ids())),
        lambda one: Found(
            f"{one.project}, {one.pk}",
            str(one.get_state_display()),
            reverse("accounting:request", args=[one.pk]),
        ),
    )
    if has_permission(user, Permission.SEE_PEOPLE):
        yield _group(_("People"), "users", _people(user, words), _person, _list("portal:people", words))
        yield _group(
            _("Institutions"),
            "building",
            _like(_institutions(user), words, "name", "slug", "account").order_by("name"),
            lambda one: Found(one.name, name_of(one.country), reverse("portal:institution", args=[one.slug])),
            _list("portal:institutions", words),
        )
        yield _group(
            _("Labs"),
            "flask",
            _like(_labs(user), words, "name", "account").order_by("name", "pk"),
            lambda one: Found(one.name, str(one.institution), reverse("portal:lab", args=[one.pk])),
        )


def _group(title: Promise, icon: str, rows: Any, shown: Any, more: str = "") -> Group:
    first: Iterable[Any] = list(rows[: MOST + 1])
    found = [shown(row) for row in first]
    return Group(title, icon, found[:MOST], more if len(found) > MOST else "")


# ── What is called so ────────────────────────────────────────────────────────


def _jobs(user: User, words: str) -> Any:
    """By number, the scheduler's number or the token where it is one; else by name."""
    jobs = Job.objects.visible_to(user).select_related("owner", "project").order_by("-pk")
    named = Q(name__icontains=words) | Q(scheduler_id=words) | Q(token=words)
    return jobs.filter(named | Q(pk=int(words)) if _is_number(words) else named)


def _people(user: User, words: str) -> Any:
    seen = Membership.objects.current().visible_to(user).order_by().values("user")
    return _like(User.objects.filter(pk__in=seen), words, "name", "email").order_by("name", "pk")


def _institutions(user: User) -> Any:
    """All for the centre; else those to which one belongs."""
    everything = Institution.objects.all()
    if user.roles & {*CENTRE_ROLES}:
        return everything
    return everything.filter(
        pk__in={m.institution_id or (m.lab and m.lab.institution_id) for m in user.current_memberships}
    )


def _labs(user: User) -> Any:
    """All for the centre, an institution's for its admins; else one's own."""
    labs = Lab.objects.select_related("institution")
    if user.roles & {*CENTRE_ROLES}:
        return labs
    mine = user.current_memberships
    return labs.filter(
        Q(pk__in=[m.lab_id for m in mine if m.lab_id])
        | Q(institution__in=[m.institution_id for m in mine if m.institution_id])
    )


def _like(rows: Any, words: str, *fields: str) -> Any:
    """Each word stands in one of the fields."""
    for word in words.split():
        fits = Q()
        for field in fields:
            fits |= Q((f"{field}__icontains", word))
        rows = rows.filter(fits)
    return rows


def _numbered(rows: Any, words: str) -> Any:
    return rows.filter(pk=int(words)) if _is_number(words) else rows.none()


def _is_number(words: str) -> bool:
    return words.isascii() and words.isdecimal() and len(words) < 19


# ── How it is shown ──────────────────────────────────────────────────────────


def _job(job: Job) -> Found:
    return Found(
        job.name,
        f"{job.project}, {job.owner}, {job.get_state_display()}",
        reverse("jobs:detail", args=[job.pk]),
    )


def _person(person: User) -> Found:
    return Found(person.name, person.email, reverse("portal:person", args=[person.pk]))


def _list(name: str, words: str) -> str:
    return f"{reverse(name)}?{urlencode({'q': words})}"
