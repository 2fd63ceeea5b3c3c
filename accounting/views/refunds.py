"""Refunds of runs that their nodes ended: staff say yes or no, to one or to all that are ticked."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import ngettext

from accounting.actions import refunds as actions
from accounting.actions.own import is_own
from accounting.forms.putting_right import RefundsForm
from accounting.models import RefundProposal
from portal.lists import form_page, page_of
from portal.permissions import Permission, check_permission
from portal.reauthentication import confirm_again
from portal.requests import PersonRequest

State = RefundProposal.State


@form_page
@confirm_again
def refunds(request: PersonRequest) -> HttpResponse:
    check_permission(request.user, Permission.DECIDE_REFUND)
    decided = request.GET.get("show") == "decided"
    rows = RefundProposal.objects.select_related(
        "usage_record__person", "allocation__project__lab__institution", "allocation__cluster", "decided_by"
    )
    waiting = rows.filter(state=State.PROPOSED).order_by("proposed_at", "pk")
    others = rows.exclude(state=State.PROPOSED).order_by("-decided_at", "-pk")
    page = page_of(request, others if decided else waiting)
    offered = [] if decided else [one for one in page if not _is_own(request, one)]
    form = RefundsForm(request.POST if request.method == "POST" else None, offered=offered)
    if form.is_valid():
        _decide(request, form)
        return redirect("accounting:refunds")
    shown = [(one, one in offered, one in form.ticked) for one in page]
    context: dict[str, Any] = {"page": page, "rows": shown, "decided": decided, "form": form}
    return render(request, "accounting/refunds.html", context)


def _is_own(request: PersonRequest, one: RefundProposal) -> bool:
    return is_own(request.user, one.allocation.project.lab)


def _decide(request: PersonRequest, form: RefundsForm) -> None:
    done = actions.decide_many(
        by=request.user, proposals=form.ticked, approved=form.approved, reason=form.cleaned_data["reason"]
    )
    if form.approved:
        said = ngettext("%(n)s refund is given.", "%(n)s refunds are given.", done)
    else:
        said = ngettext("%(n)s refund is declined.", "%(n)s refunds are declined.", done)
    messages.success(request, said % {"n": done})
    if late := len(form.ticked) - done:
        sentence = ngettext(
            "Somebody was faster with %(n)s more: it stays as it was decided.",
            "Somebody was faster with %(n)s more: they stay as they were decided.",
            late,
        )
        messages.warning(request, sentence % {"n": late})
