"""The pages on which a lab asks for GPU-hours. Each: fetch within sight, bind the form, call one action, redirect."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from accounting.actions import requests as actions
from accounting.actions.authors import may_write
from accounting.actions.missing import Unfinished
from accounting.forms.reviews import DecisionForm
from accounting.forms.search import RequestSearch
from accounting.forms.technical_reviews import WriteReviewForm
from accounting.models import AllocationRequest
from accounting.views.deciding import ANSWERS, pane
from accounting.views.projects import may_request
from portal.lists import PER_PAGE, page_of
from portal.models import Project
from portal.overtaken import told_if_overtaken
from portal.permissions import Permission, has_permission
from portal.requests import PersonRequest
from portal.transitions import Overtaken

ASKING = (Project.State.PROPOSED, Project.State.ACTIVE)
MOST_OFFERED = 7  # projects to ask for, by a button of the list; more are chosen among all projects


@require_safe
def requests(request: PersonRequest) -> HttpResponse:
    form = RequestSearch(request.GET)
    visible = AllocationRequest.objects.visible_to(request.user)
    found = visible.filter(form.wanted).order_by("-created_at", "-pk")
    projects = Project.objects.visible_to(request.user).filter(state__in=ASKING).select_related("lab")
    context = {
        "page": page_of(request, found, listed()),
        "form": form,
        "askable": [project for project in projects[: MOST_OFFERED + 1] if may_request(request, project)],
        "most_offered": MOST_OFFERED,
        "offers": AllocationRequest.objects.offered_to(request.user)
        .unanswered()
        .order_by("submitted_at")[:PER_PAGE],
        "may_propose": has_permission(request.user, Permission.REQUEST_HOURS),
    }
    return render(request, "accounting/requests.html", context)


@require_safe
def request_detail(request: PersonRequest, pk: int) -> HttpResponse:
    asked = get_object_or_404(visible_requests(request), pk=pk)
    return request_page(request, asked)


@require_POST
def request_submit(request: PersonRequest, pk: int) -> HttpResponse:
    asked = get_object_or_404(visible_requests(request), pk=pk)
    try:
        actions.submit_request(by=request.user, request=asked)
        messages.success(request, said_of(asked))
    except Unfinished as unfinished:
        messages.warning(request, str(unfinished))
        return redirect("accounting:request_edit", asked.pk)
    except Overtaken as overtaken:
        messages.warning(request, str(overtaken))
    return redirect("accounting:request", asked.pk)


@require_POST
def request_copy(request: PersonRequest, pk: int) -> HttpResponse:
    """What was rejected or withdrawn, as a new draft."""
    asked = get_object_or_404(visible_requests(request), pk=pk)
    copy = actions.copy_request(by=request.user, request=asked)
    messages.success(request, _("This is a copy. Change what has to be changed, then send it."))
    return redirect("accounting:request_edit", copy.pk)


@require_POST
def request_withdraw(request: PersonRequest, pk: int) -> HttpResponse:
    asked = get_object_or_404(visible_requests(request), pk=pk)
    with told_if_overtaken(request):
        actions.withdraw_request(by=request.user, request=asked)
        messages.success(request, _("The request is withdrawn. Nothing was granted or taken."))
    return redirect("accounting:request", asked.pk)


def request_page(
    request: PersonRequest,
    asked: AllocationRequest,
    form: DecisionForm | None = None,
    *,
    write_form: WriteReviewForm | None = None,
) -> HttpResponse:
    """The request with its answers; a form that did not pass comes back as it was typed."""
    rights = {
        "may_change": may_write(request.user, asked),
        "may_copy": has_permission(request.user, Permission.REQUEST_HOURS, lab=asked.project.lab),
    }
    answers = pane(request.user, asked, form=form, write_form=write_form)
    return render(request, "accounting/request.html", {"asked": asked} | rights | answers)


def listed() -> QuerySet[AllocationRequest]:
    """With what a line of a list tells of each."""
    related = ("project__lab__institution", "to_project__lab", "call")
    return AllocationRequest.objects.select_related(*related).prefetch_related(ANSWERS)


def visible_requests(request: PersonRequest) -> Any:
    """With what their pages tell of them."""
    return (
        AllocationRequest.objects.visible_to(request.user)
        .select_related(
            "project__lab__institution",
            "project__funder",
            "cluster__policy",
            "allocation",
            "to_project__lab",
            "created_by",
            "call",
        )
        .prefetch_related(ANSWERS)
    )


def said_of(asked: AllocationRequest) -> str:
    if asked.state == AllocationRequest.State.APPROVED:
        return _("Granted at once, by the centre's policy for small requests.")
    if asked.state != AllocationRequest.State.SUBMITTED:
        return _("Saved. The centre doesn't see it before you send it.")
    if asked.lacks_consent:
        return _("The request is sent. The receiving project's PI is asked first, then the centre.")
    return _("The request is with the centre. You see here when it is decided.")
