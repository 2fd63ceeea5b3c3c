"""Corrections of balances that need a second person: the list, and the page on which that person answers."""

from __future__ import annotations

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from accounting import ledger
from accounting.actions import corrections as actions
from accounting.actions.own import is_own
from accounting.forms.putting_right import CorrectionForm
from accounting.models import Correction
from portal.lists import form_page, page_of
from portal.overtaken import told_if_overtaken
from portal.permissions import Permission, check_permission
from portal.reauthentication import confirm_again
from portal.requests import PersonRequest

State = Correction.State


@require_safe
def corrections(request: PersonRequest) -> HttpResponse:
    check_permission(request.user, Permission.AGREE_TO_CORRECTION)
    decided = request.GET.get("show") == "decided"
    waits = {"state": State.PROPOSED}
    rows = _found().exclude(**waits) if decided else _found().filter(**waits)
    page = page_of(request, rows)
    return render(request, "accounting/corrections.html", {"page": page, "decided": decided})


@form_page
@confirm_again
def correction(request: PersonRequest, pk: int) -> HttpResponse:
    check_permission(request.user, Permission.AGREE_TO_CORRECTION)
    one = get_object_or_404(_found(), pk=pk)
    form = CorrectionForm(request.POST if request.method == "POST" else None, correction=one, by=request.user)
    if not form.is_valid():
        context = {
            "correction": one,
            "form": form,
            "balance": ledger.balance(one.allocation),
            "waits": one.state == State.PROPOSED,
            "is_own": is_own(request.user, one.allocation.project.lab),
        }
        return render(request, "accounting/correction.html", context)
    with told_if_overtaken(request):
        if form.approved:
            actions.approve(by=request.user, correction=one, comment=form.cleaned_data["reason"])
            messages.success(request, _("The balance is corrected. The reason stands in the statement."))
        else:
            actions.decline(by=request.user, correction=one, comment=form.cleaned_data["reason"])
            messages.success(request, _("The balance stays as it is."))
    return redirect("accounting:corrections")


def _found() -> QuerySet[Correction]:
    return Correction.objects.select_related(
        "allocation__project__lab__institution", "allocation__cluster", "proposed_by", "decided_by"
    )
