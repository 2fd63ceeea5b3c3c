"""Corrections after closing: what became known of closed months, entered on days of open ones."""

from __future__ import annotations

from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounting.forms.reports import PeriodForm
from accounting.periods import presets
from accounting.reports.corrections import corrections_in, each
from accounting.reports.programmes import scope_of
from accounting.sheets import correction_lines
from portal.lists import page_of
from portal.permissions import Permission, check_permission
from portal.requests import PersonRequest
from portal.sheets import csv_text


@require_safe
def usage_corrections(request: PersonRequest) -> HttpResponse:
    """Sums for everybody who reads reports; one by one, with the record, for the centre."""
    check_permission(request.user, Permission.SEE_PROGRAMME)
    now = timezone.now()
    form = PeriodForm(request.GET, today=now.date())
    scope = scope_of(request.user)
    found = corrections_in(scope, form.period, as_of=now)
    context = {
        "form": form,
        "scope": scope,
        "found": found,
        "presets": presets(now.date()),
        "page": page_of(request, each(scope, form.period) if scope.is_everything else found.rows),
        "download": f"{reverse('accounting:usage_corrections_csv')}?{form.period.query}",
    }
    return render(request, "accounting/usage_corrections.html", context)


@require_safe
def usage_corrections_csv(request: PersonRequest) -> HttpResponseBase:
    check_permission(request.user, Permission.SEE_PROGRAMME)
    now = timezone.now()
    form = PeriodForm(request.GET, today=now.date())
    if not form.is_valid():
        return redirect(f"{reverse('accounting:usage_corrections')}?{request.GET.urlencode()}")
    found = corrections_in(scope_of(request.user), form.period, as_of=now)
    name = f"corrections-{form.period.first}-to-{form.period.last}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingHttpResponse(
        csv_text(correction_lines(found)), content_type="text/csv; charset=utf-8", headers=headers
    )
