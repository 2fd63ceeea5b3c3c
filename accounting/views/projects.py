"""The pages of projects and of their allocations' statements."""

from __future__ import annotations

from typing import Any

from django.db.models import Q
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounting import charts
from accounting.forms.projects import ProjectSearch
from accounting.models import Allocation, AllocationRequest
from accounting.reports import balances, spending
from portal.forms.selects import ProjectChoice, typed
from portal.lists import PER_PAGE, order, page_of
from portal.models import Project
from portal.permissions import Permission, has_permission
from portal.places import words_of_places
from portal.requests import PersonRequest

PROJECT_ORDER = {"title": "title", "lab": "lab__name"}


@require_safe
def projects(request: PersonRequest) -> HttpResponse:
    form = ProjectSearch(request.GET)
    words = form.cleaned_data["q"].split() if form.is_valid() else []
    found = Project.objects.visible_to(request.user)
    of_places = words_of_places(words)
    for word in words:
        there = Q(lab__name__icontains=word) | Q(lab__institution__name__icontains=word)
        named = Q(title__icontains=word)
        found = found.filter(named | there if word in of_places else named)
    shown = Project.objects.select_related("lab__institution")
    page = page_of(request, found.order_by(*order(request, PROJECT_ORDER, "title")), shown)
    page.object_list = balances.standings(page.object_list, on=timezone.now().date())
    may_propose = has_permission(request.user, Permission.REQUEST_HOURS)
    context = {"page": page, "form": form, "filtered": bool(words), "may_propose": may_propose}
    return render(request, "accounting/projects.html", context)


@require_safe
def project_names(request: PersonRequest) -> HttpResponse:
    """?project=light: the projects whose title or short name has those words, as options of a field."""
    found = Project.objects.visible_to(request.user)
    for word in typed(request, "project"):
        found = found.filter(Q(title__icontains=word) | Q(slug__icontains=word))
    names = ProjectChoice.named(found.order_by("title", "pk")[:PER_PAGE])
    return render(request, "portal/partials/options.html", {"options": names})


@require_safe
def project(request: PersonRequest, slug: str) -> HttpResponse:
    project = get_object_or_404(visible_projects(request), slug=slug)
    [standing] = balances.standings([project], on=timezone.now().date())
    burns = [(one, spending.burn(one)) for one in standing.active]
    context = {
        "project": project,
        "standing": standing,
        "burns": [(one, burn, charts.burn_down(one, burn)) for one, burn in burns],
        "past": [one for one in standing.allocations if not one.is_active],
        "shares": spending.shares(project),
        "requests": AllocationRequest.objects.visible_to(request.user).filter(project=project)[:5],
        "may_request": may_request(request, project),
        "may_close": may_close(request, project),
        "may_submit": has_permission(request.user, Permission.SUBMIT_JOB, lab=project.lab),
    }
    return render(request, "accounting/project.html", context)


@require_safe
def statement(request: PersonRequest, pk: int) -> HttpResponse:
    allocations = Allocation.objects.visible_to(request.user).select_related(
        "project__lab__institution", "cluster"
    )
    allocation = get_object_or_404(allocations, pk=pk)
    [standing] = balances.standings([allocation.project], on=timezone.now().date())
    page = page_of(request, spending.entries(allocation))
    page.object_list = spending.statement_lines(page.object_list)
    context = {
        "allocation": allocation,
        "balance": next(one.balance for one in standing.allocations if one.allocation == allocation),
        "statement": spending.statement(allocation),
        "page": page,
    }
    return render(request, "accounting/statement.html", context)


def visible_projects(request: PersonRequest) -> Any:
    return Project.objects.visible_to(request.user).select_related("lab__institution", "funder")


def may_close(request: PersonRequest, project: Project) -> bool:
    """Close it while it is active; open it again once it is closed."""
    if project.state == Project.State.CLOSED:
        return has_permission(request.user, Permission.REOPEN_PROJECT, lab=project.lab)
    active = project.state == Project.State.ACTIVE
    return active and has_permission(request.user, Permission.CLOSE_PROJECT, lab=project.lab)


def may_request(request: PersonRequest, project: Project) -> bool:
    """A proposed project asks for its first hours."""
    return project.state in (Project.State.PROPOSED, Project.State.ACTIVE) and has_permission(
        request.user, Permission.REQUEST_HOURS, lab=project.lab
    )
