"""Our sums beside the scheduler's own, for the centre's staff: which days agree, and what nobody can explain."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from accounting.actions import reconciling as actions
from accounting.forms.reconciling import DiscrepancySearch, ExplainForm
from accounting.models import Discrepancy, Outcome, Reconciliation
from portal.lists import form_page, page_of
from portal.overtaken import told_if_overtaken
from portal.permissions import Permission, check_permission
from portal.requests import PersonRequest

LAST_COMPARED = 16  # days, of all clusters together


@require_safe
def discrepancies(request: PersonRequest) -> HttpResponse:
    check_permission(request.user, Permission.SEE_CLUSTERS)
    search = DiscrepancySearch(request.GET)
    found = Discrepancy.objects.filter(search.wanted).select_related("cluster", "explained_by")
    compared = Reconciliation.objects.filter(search.of_cluster).with_counts().select_related("cluster")
    days = list(compared[:LAST_COMPARED])
    context = {
        "page": page_of(request, found),
        "form": search,
        "filtered": search.is_narrow,
        "open_count": Discrepancy.objects.open().count(),
        "days": days,
        "unread_count": sum(day.outcome == Outcome.UNREAD for day in days),
    }
    return render(request, "accounting/discrepancies.html", context)


@form_page
def discrepancy_explain(request: PersonRequest, pk: int) -> HttpResponse:
    check_permission(request.user, Permission.EXPLAIN_DISCREPANCY)
    discrepancy = get_object_or_404(Discrepancy.objects.select_related("cluster"), pk=pk)
    form = ExplainForm(request.POST or None)
    if not form.is_valid():
        context = {"form": form, "discrepancy": discrepancy}
        return render(request, "accounting/discrepancy_explain.html", context)
    with told_if_overtaken(request):
        actions.explain(by=request.user, discrepancy=discrepancy, **form.cleaned_data)
        messages.success(request, _("Explained. It comes back if one of the figures changes."))
    return redirect("accounting:discrepancies")
