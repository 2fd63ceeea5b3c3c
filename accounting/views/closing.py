"""The pages on which a project or a lab is closed. Each says beforehand what will happen."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db.models import Count
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _

from accounting.actions import closing as actions
from accounting.forms.closing import ReasonForm
from accounting.models import AllocationRequest
from accounting.reports import balances
from accounting.views.projects import visible_projects
from portal.lists import form_page
from portal.models import Invitation, JoinRequest, Lab, Project
from portal.overtaken import told_if_overtaken
from portal.permissions import Permission, check_permission, has_permission
from portal.requests import PersonRequest


@form_page
def project_close(request: PersonRequest, slug: str) -> HttpResponse:
    """Closes an active project; the centre opens a closed one again on the same page."""
    project = get_object_or_404(visible_projects(request), slug=slug)
    opens = project.state == Project.State.CLOSED and has_permission(request.user, Permission.REOPEN_PROJECT)
    check_permission(request.user, Permission.CLOSE_PROJECT, lab=project.lab)
    form = ReasonForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        deed = actions.reopen_project if opens else actions.close_project
        with told_if_overtaken(request):
            deed(by=request.user, project=project, **form.cleaned_data)
            messages.success(request, _said_of(project))
        return redirect("accounting:project", project.slug)
    [standing] = balances.standings([project], on=timezone.now().date())
    context = {
        "project": project,
        "form": form,
        "opens": opens,
        "free": sum(one.balance.available for one in standing.active),
        "open_requests": project.requests.filter(state__in=actions.OPEN_REQUESTS).count(),
    }
    return render(request, "accounting/project_close.html", context)


@form_page
def lab_close(request: PersonRequest, pk: int) -> HttpResponse:
    lab = get_object_or_404(Lab.objects.visible_to(request.user).select_related("institution"), pk=pk)
    check_permission(request.user, Permission.CLOSE_LAB, lab=lab)
    form = ReasonForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        with told_if_overtaken(request):
            actions.close_lab(by=request.user, lab=lab, **form.cleaned_data)
            messages.success(request, _("%(lab)s is closed.") % {"lab": lab})
        return redirect("portal:people")
    return render(request, "accounting/lab_close.html", {"lab": lab, "form": form, **_what_hangs_on(lab)})


def _what_hangs_on(lab: Lab) -> dict[str, Any]:
    """What closing takes along, in numbers."""
    waiting = AllocationRequest.objects.filter(project__lab=lab, state__in=actions.OPEN_REQUESTS)
    return {
        "projects": list(lab.projects.active().values_list("title", flat=True)),
        **lab.memberships.current().aggregate(people=Count("user", distinct=True)),
        "open_requests": waiting.count(),
        "invitations": Invitation.objects.open().filter(lab=lab).count(),
        "wishes": JoinRequest.objects.filter(lab=lab, state=JoinRequest.State.WAITING).count(),
    }


def _said_of(project: Project) -> str:
    if project.state == Project.State.CLOSED:
        return _("%(project)s is closed. Its record stays readable.") % {"project": project}
    return _("%(project)s is active again.") % {"project": project}
