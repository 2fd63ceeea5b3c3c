"""The pages of projects, requests and reports. Each: fetch within sight, bind the form, call one action, redirect."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounting import actions, charts
from accounting.forms import DecisionForm, PeriodForm, ProjectSearch, QueueFilter, RequestForm, of_request
from accounting.models import Allocation, AllocationRequest
from accounting.periods import presets
from accounting.reports import balances, decisions, programmes, spending
from accounting.sheets import csv_text, programme_lines
from accounting.units import hours
from portal.models import Project
from portal.permissions import Permission, check_permission, has_permission
from portal.requests import PersonRequest
from portal.words import figure

PER_PAGE = 50
PROJECT_ORDER = {"title": "title", "lab": "lab__name"}
form_page = require_http_methods(["GET", "HEAD", "POST"])


def page_of(request: HttpRequest, rows: Any) -> Any:
    return Paginator(rows, PER_PAGE).get_page(request.GET.get("page"))


def _order(request: HttpRequest, known: dict[str, str], usual: str) -> tuple[str, str]:
    """?sort=title or -title as fields to order by; what we don't know is the usual order."""
    wanted = request.GET.get("sort", usual)
    down = "-" if wanted.startswith("-") else ""
    return f"{down}{known.get(wanted.lstrip('-'), known[usual])}", f"{down}pk"


# ── Projects ─────────────────────────────────────────────────────────────────


@require_safe
def projects(request: PersonRequest) -> HttpResponse:
    form = ProjectSearch(request.GET)
    words = form.cleaned_data["q"].split() if form.is_valid() else []
    found = Project.objects.visible_to(request.user).select_related("lab__institution")
    for word in words:
        found = found.filter(
            Q(title__icontains=word)
            | Q(lab__name__icontains=word)
            | Q(lab__institution__name__icontains=word)
        )
    page = page_of(request, found.order_by(*_order(request, PROJECT_ORDER, "title")))
    page.object_list = balances.standings(page.object_list, on=timezone.now().date())
    return render(request, "accounting/projects.html", {"page": page, "form": form, "filtered": bool(words)})


@require_safe
def project(request: PersonRequest, slug: str) -> HttpResponse:
    project = get_object_or_404(_visible_projects(request), slug=slug)
    [standing] = balances.standings([project], on=timezone.now().date())
    burns = [(one, spending.burn(one)) for one in standing.active]
    context = {
        "project": project,
        "standing": standing,
        "burns": [(one, burn, charts.burn_down(one, burn)) for one, burn in burns],
        "past": [one for one in standing.allocations if not one.is_active],
        "shares": spending.shares(project),
        "requests": AllocationRequest.objects.visible_to(request.user).filter(project=project)[:5],
        "may_request": _may_request(request, project),
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
    context = {
        "allocation": allocation,
        "balance": next(one.balance for one in standing.allocations if one.allocation == allocation),
        "statement": spending.statement(allocation),
        "page": page_of(request, spending.statement_lines(allocation)),
    }
    return render(request, "accounting/statement.html", context)


def _visible_projects(request: PersonRequest) -> Any:
    return Project.objects.visible_to(request.user).select_related("lab__institution", "funder")


def _may_request(request: PersonRequest, project: Project) -> bool:
    return project.state == Project.State.ACTIVE and has_permission(
        request.user, Permission.REQUEST_HOURS, lab=project.lab
    )


# ── Requests ─────────────────────────────────────────────────────────────────


@require_safe
def requests(request: PersonRequest) -> HttpResponse:
    found = _visible_requests(request)
    askable = [
        project
        for project in Project.objects.active().visible_to(request.user).select_related("lab")[:PER_PAGE]
        if _may_request(request, project)
    ]
    return render(request, "accounting/requests.html", {"page": page_of(request, found), "askable": askable})


@form_page
def request_new(request: PersonRequest, slug: str) -> HttpResponse:
    project = get_object_or_404(_visible_projects(request), slug=slug)
    check_permission(request.user, Permission.REQUEST_HOURS, lab=project.lab)
    form = RequestForm(request.POST or None, initial={"start": timezone.now().date()})
    if form.is_valid():
        made = actions.request_hours(
            by=request.user, project=project, submit="send" in request.POST, **form.deed
        )
        messages.success(request, _said_of(made))
        return redirect("accounting:request", made.pk)
    return render(request, "accounting/request_form.html", {"form": form, "project": project, "asked": None})


@form_page
def request_edit(request: PersonRequest, pk: int) -> HttpResponse:
    asked = get_object_or_404(_visible_requests(request), pk=pk)
    check_permission(request.user, Permission.REQUEST_HOURS, lab=asked.project.lab)
    if not asked.is_open:
        messages.warning(request, _("This request can no longer be changed."))
        return redirect("accounting:request", asked.pk)
    form = RequestForm(request.POST or None, initial=of_request(asked))
    if form.is_valid():
        try:
            actions.change_request(by=request.user, request=asked, submit="send" in request.POST, **form.deed)
            messages.success(request, _said_of(asked))
        except actions.Overtaken as overtaken:
            messages.warning(request, str(overtaken))
        return redirect("accounting:request", asked.pk)
    return render(
        request, "accounting/request_form.html", {"form": form, "project": asked.project, "asked": asked}
    )


@require_safe
def request_detail(request: PersonRequest, pk: int) -> HttpResponse:
    asked = get_object_or_404(_visible_requests(request), pk=pk)
    form = DecisionForm(asked=asked)
    return _request_page(request, asked, form)


@require_POST
def request_submit(request: PersonRequest, pk: int) -> HttpResponse:
    asked = get_object_or_404(_visible_requests(request), pk=pk)
    try:
        actions.submit_request(by=request.user, request=asked)
        messages.success(request, _said_of(asked))
    except actions.Overtaken as overtaken:
        messages.warning(request, str(overtaken))
    return redirect("accounting:request", asked.pk)


@require_POST
def request_withdraw(request: PersonRequest, pk: int) -> HttpResponse:
    asked = get_object_or_404(_visible_requests(request), pk=pk)
    try:
        actions.withdraw_request(by=request.user, request=asked)
        messages.success(request, _("The request is withdrawn. Nothing was granted or taken."))
    except actions.Overtaken as overtaken:
        messages.warning(request, str(overtaken))
    return redirect("accounting:request", asked.pk)


@require_safe
def queue(request: PersonRequest) -> HttpResponse:
    """What waits for the centre, the oldest first."""
    check_permission(request.user, Permission.DECIDE_REQUEST)
    filter_form = QueueFilter(request.GET)
    show = (filter_form.cleaned_data["show"] if filter_form.is_valid() else "") or QueueFilter.WAITING
    all_requests = _visible_requests(request)
    page = page_of(request, _shown(all_requests, show))
    histories = decisions.histories(asked.project.lab.institution_id for asked in page)
    rows = [
        (asked, histories[asked.project.lab.institution_id], actions.may_decide(request.user, asked))
        for asked in page
    ]
    context = {"page": page, "rows": rows, "show": show, "choices": QueueFilter.CHOICES}
    return render(request, "accounting/queue.html", context | {"waiting": all_requests.waiting().count()})


@form_page
def request_decide(request: PersonRequest, pk: int) -> HttpResponse:
    asked = get_object_or_404(_visible_requests(request), pk=pk)
    if request.method != "POST":
        return redirect("accounting:request", asked.pk)
    actions.check_may_decide(request.user, asked)
    form = DecisionForm(request.POST, asked=asked)
    if not form.is_valid():
        return _request_page(request, asked, form)
    try:
        messages.success(request, _decided(request, asked, form))
    except actions.Overtaken as overtaken:
        messages.warning(request, str(overtaken))
        return redirect("accounting:request", asked.pk)
    return redirect("accounting:queue")


def _decided(request: PersonRequest, asked: AllocationRequest, form: DecisionForm) -> str:
    """Do what the pressed button says, and say so."""
    words = {"project": asked.project.title}
    comment = form.cleaned_data["comment"]
    match form.cleaned_data["verdict"]:
        case DecisionForm.APPROVE:
            gpu_seconds = form.cleaned_data["gpu_seconds"]
            actions.approve_request(by=request.user, request=asked, gpu_seconds=gpu_seconds, comment=comment)
            words["hours"] = figure(hours(gpu_seconds))
            return (
                _("%(hours)s GPU-hours are granted to “%(project)s”. They can be used from the first day on.")
                % words
            )
        case DecisionForm.RETURN:
            actions.return_request(by=request.user, request=asked, comment=comment)
            return _("The request for “%(project)s” is back with its lab, with your comment.") % words
        case _verdict:
            actions.reject_request(by=request.user, request=asked, comment=comment)
            return _("The request for “%(project)s” is rejected; its lab reads your reason.") % words


def _request_page(request: PersonRequest, asked: AllocationRequest, form: DecisionForm) -> HttpResponse:
    institution = asked.project.lab.institution_id
    decides = has_permission(request.user, Permission.DECIDE_REQUEST)
    context = {
        "asked": asked,
        "form": form,
        "story": decisions.story(asked),
        "may_decide": actions.may_decide(request.user, asked),
        "why_not": _why_not(request, asked) if decides else "",
        "history": decisions.histories([institution])[institution] if decides else None,
        "may_change": has_permission(request.user, Permission.REQUEST_HOURS, lab=asked.project.lab),
    }
    return render(request, "accounting/request.html", context)


def _why_not(request: PersonRequest, asked: AllocationRequest) -> str:
    """Why somebody who decides on requests can't decide on this one."""
    if asked.state != AllocationRequest.State.SUBMITTED:
        return ""
    try:
        actions.check_may_decide(request.user, asked)
    except PermissionDenied as denied:
        return str(denied)
    return ""


def _visible_requests(request: PersonRequest) -> Any:
    return (
        AllocationRequest.objects.visible_to(request.user)
        .select_related("project__lab__institution", "cluster", "created_by")
        .prefetch_related("reviews")
    )


def _shown(found: Any, show: str) -> Any:
    states = AllocationRequest.State
    if show == QueueFilter.WITH_LAB:
        return found.filter(state=states.RETURNED).order_by("-submitted_at", "-pk")
    if show == QueueFilter.DECIDED:
        return found.filter(state__in=(states.APPROVED, states.REJECTED)).order_by("-decided_at", "-pk")
    return found.waiting().order_by("submitted_at", "pk")


def _said_of(asked: AllocationRequest) -> str:
    if asked.state == AllocationRequest.State.SUBMITTED:
        return _("The request is with the centre. You see here when it is decided.")
    return _("Saved. The centre doesn't see it before you send it.")


# ── Reports ──────────────────────────────────────────────────────────────────


@require_safe
def report(request: PersonRequest) -> HttpResponse:
    check_permission(request.user, Permission.SEE_PROGRAMME)
    now = timezone.now()
    form = PeriodForm(request.GET, today=now.date())
    scope = programmes.scope_of(request.user)
    programme = programmes.programme(scope, form.period, as_of=now)
    context = {
        "form": form,
        "scope": scope,
        "programme": programme,
        "months": list(programme.period.months),
        "chart": charts.by_month(programme),
        "presets": presets(now.date()),
        "download": f"{reverse('accounting:report_csv')}?{programme.period.query}",
    }
    return render(request, "accounting/report.html", context)


@require_safe
def report_csv(request: PersonRequest) -> HttpResponseBase:
    """The report's numbers, one line per row and month."""
    check_permission(request.user, Permission.SEE_PROGRAMME)
    now = timezone.now()
    form = PeriodForm(request.GET, today=now.date())
    if not form.is_valid():
        return redirect(f"{reverse('accounting:report')}?{request.GET.urlencode()}")
    programme = programmes.programme(programmes.scope_of(request.user), form.period, as_of=now)
    name = f"gpu-hours-{programme.period.first}-to-{programme.period.last}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingHttpResponse(
        csv_text(programme_lines(programme)), content_type="text/csv; charset=utf-8", headers=headers
    )
