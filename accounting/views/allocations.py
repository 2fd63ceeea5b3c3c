"""The pages of an allocation: its life as a story, caps, progress report; for staff, suspending and correcting it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from accounting import ledger
from accounting.actions import allocations as actions
from accounting.actions import corrections
from accounting.actions.authors import may_write
from accounting.actions.caps import capped_people, set_caps
from accounting.forms.allocations import AdjustForm, CapsForm, ReportForm, SuspensionForm
from accounting.models import Allocation, AllocationRequest, Correction, ProgressReport, policy_of
from accounting.reports import lives
from accounting.reports.balances import AllocationStanding
from accounting.views.projects import may_request
from portal.lists import form_page, page_of
from portal.overtaken import told_if_overtaken
from portal.permissions import Permission, check_permission, has_permission
from portal.reauthentication import confirm_again
from portal.requests import PersonRequest


@require_safe
def allocation(request: PersonRequest, pk: int) -> HttpResponse:
    one = _visible(request, pk)
    policy, entries, lab = policy_of(one.cluster), lives.entries(one), one.project.lab
    standing = AllocationStanding(one, ledger.balance(one), timezone.now().date())
    context = {
        "allocation": one,
        "standing": standing,
        "page": page_of(request, lives.story(standing, entries)),
        "allowances": lives.allowances(one),
        "to_come": lives.to_come(one),
        "conditions": lives.conditions(one, entries),
        "renewals": list(one.renewals.all()),
        "report": getattr(one, "progress_report", None),
        "policy": policy,
        "checkpoint": lives.checkpoint(one, policy),
        "may_request": may_request(request, one.project),
        "may_cap": has_permission(request.user, Permission.SET_CAPS, lab=lab),
        "may_report": has_permission(request.user, Permission.WRITE_REPORT, lab=lab),
        "may_suspend": has_permission(request.user, Permission.SUSPEND_ALLOCATION),
        "may_adjust": has_permission(request.user, Permission.ADJUST_HOURS),
    }
    return render(request, "accounting/allocation.html", context)


@form_page
def suspend(request: PersonRequest, pk: int) -> HttpResponse:
    one = _visible(request, pk)
    check_permission(request.user, Permission.SUSPEND_ALLOCATION)
    form = SuspensionForm(request.POST or None)
    if not form.is_valid():
        return _form(request, "suspend", one, form)
    return _done(
        request,
        one,
        lambda: actions.suspend(by=request.user, allocation=one, reason=form.cleaned_data["reason"]),
        _("The allocation is suspended: no new jobs. Those that were submitted go on."),
    )


@require_POST
def resume(request: PersonRequest, pk: int) -> HttpResponse:
    one = _visible(request, pk)
    return _done(
        request,
        one,
        lambda: actions.resume(by=request.user, allocation=one),
        _("The allocation can be used again."),
    )


@form_page
@confirm_again
def adjust(request: PersonRequest, pk: int) -> HttpResponse:
    one = _visible(request, pk)
    check_permission(request.user, Permission.ADJUST_HOURS)
    form = AdjustForm(request.POST or None)
    if not form.is_valid():
        return _form(request, "adjust", one, form)
    written = corrections.adjust(by=request.user, allocation=one, **form.deed)
    if isinstance(written, Correction):
        messages.success(request, _("Nothing has moved yet: a second person has to agree, and got a mail."))
        return redirect("accounting:correction", written.pk)
    messages.success(request, _("The balance is corrected. The reason stands in the statement."))
    return redirect("accounting:allocation", one.pk)


@form_page
def caps(request: PersonRequest, pk: int) -> HttpResponse:
    one = _visible(request, pk)
    check_permission(request.user, Permission.SET_CAPS, lab=one.project.lab)
    page = page_of(request, capped_people(one))
    form = CapsForm(request.POST or None, people=page, caps=one.caps.all())
    if request.method == "POST" and form.is_valid():
        set_caps(by=request.user, allocation=one, caps=form.caps)
        messages.success(request, _("The caps are set. They hold from the next job on."))
        return redirect("accounting:allocation", one.pk)
    allowances = {f"cap_{cap.user_id}": allowance for cap, allowance in lives.allowances(one)}
    rows = [(field, allowances.get(field.name)) for field in form]
    return render(
        request,
        "accounting/allocation_caps.html",
        {"allocation": one, "form": form, "rows": rows, "page": page},
    )


@form_page
def report_write(request: PersonRequest, pk: int) -> HttpResponse:
    one = _visible(request, pk)
    check_permission(request.user, Permission.WRITE_REPORT, lab=one.project.lab)
    written: ProgressReport | None = getattr(one, "progress_report", None)
    form = ReportForm(request.POST or None, initial={"text": written.text if written else ""})
    if form.is_valid():
        text, publication = form.cleaned_data["text"], form.publication
        actions.write_report(by=request.user, allocation=one, text=text, publication=publication)
        messages.success(
            request, _("The report is kept. The centre reads it with the request for a renewal.")
        )
        if publication:
            return redirect("accounting:report_write", one.pk)
        renewal = _renewal_to_send(request, one)
        if renewal:
            return redirect("accounting:request_edit", renewal.pk)
        return redirect("accounting:allocation", one.pk)
    publications = page_of(request, one.project.publications.all())
    context = {"allocation": one, "form": form, "written": written, "page": publications}
    return render(request, "accounting/allocation_report.html", context)


def _renewal_to_send(request: PersonRequest, one: Allocation) -> AllocationRequest | None:
    """What waited for the report, if this person may send it."""
    kind, with_lab = AllocationRequest.Kind.RENEWAL, AllocationRequest.WITH_LAB
    begun = AllocationRequest.objects.visible_to(request.user).filter(
        allocation=one, kind=kind, state__in=with_lab
    )
    return next((each for each in begun if may_write(request.user, each)), None)


def _visible(request: PersonRequest, pk: int) -> Allocation:
    found = Allocation.objects.visible_to(request.user).select_related(
        "project__lab__institution",
        "cluster__policy",
        "suspended_by",
        "follows",
        "review",
        "progress_report__written_by",
    )
    return get_object_or_404(found, pk=pk)


def _form(request: PersonRequest, deed: str, one: Allocation, form: forms.Form) -> HttpResponse:
    context = {"allocation": one, "form": form, "threshold": policy_of(one.cluster).second_person_above}
    return render(request, f"accounting/allocation_{deed}.html", context)


def _done(request: PersonRequest, one: Allocation, deed: Callable[[], Any], said: str) -> HttpResponse:
    with told_if_overtaken(request):
        deed()
        messages.success(request, said)
    return redirect("accounting:allocation", one.pk)
