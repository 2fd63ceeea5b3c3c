"""The pages of reports."""

from __future__ import annotations

from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounting import charts
from accounting.forms.reports import PeriodForm
from accounting.periods import presets
from accounting.reports import programmes
from accounting.sheets import programme_lines
from portal.lists import page_of
from portal.permissions import Permission, check_permission
from portal.requests import PersonRequest
from portal.sheets import csv_text


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
        "page": page_of(request, programme.usage.rows),
        "months": list(programme.period.months),
        "chart": charts.by_month(programme.usage),
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
