"""What the nightly check found not to follow from the facts, and what staff say of it."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from accounting.actions.differences import explain
from accounting.forms.putting_right import CauseForm
from accounting.models import BalanceDifference
from portal.lists import form_page, page_of
from portal.permissions import Permission, check_permission
from portal.requests import PersonRequest


@require_safe
def differences(request: PersonRequest) -> HttpResponse:
    check_permission(request.user, Permission.SEE_CLUSTERS)
    shown = ("cluster", "allocation__project", "explained_by")
    page = page_of(request, BalanceDifference.objects.select_related(*shown))
    count = BalanceDifference.objects.filter(cleared_at=None).count()
    return render(request, "accounting/differences.html", {"page": page, "open_count": count})


@form_page
def difference(request: PersonRequest, pk: int) -> HttpResponse:
    check_permission(request.user, Permission.SEE_CLUSTERS)
    one = get_object_or_404(BalanceDifference.objects.select_related("cluster", "allocation__project"), pk=pk)
    form = CauseForm(request.POST if request.method == "POST" else None, initial={"cause": one.cause})
    if form.is_valid():
        explain(by=request.user, difference=one, cause=form.cleaned_data["cause"])
        messages.success(request, _("The cause is kept. The next check says whether it still differs."))
        return redirect("accounting:differences")
    return render(request, "accounting/difference.html", {"difference": one, "form": form})
