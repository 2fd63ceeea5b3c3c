"""A cluster's months: which are final, and which may be closed now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.contrib import messages
from django.db.models import QuerySet, Sum
from django.db.models.functions import TruncMonth
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from accounting import months
from accounting.actions.months import close_month
from accounting.forms.measuring import CloseForm
from accounting.models import ClosedMonth, Cluster, ReadMonth, UsageCorrection, UsageDay, policy_of
from accounting.periods import Month, month_of
from accounting.reports.kept import kept
from portal.lists import page_of
from portal.permissions import Permission, check_permission, has_permission
from portal.reauthentication import confirm_again
from portal.requests import PersonRequest
from portal.transitions import Overtaken


@dataclass(frozen=True)
class MonthRow:
    """One month of a cluster. `why_not`: why it can't be closed, in words."""

    month: Month
    gpu_seconds: int
    closed: ClosedMonth | None
    read: ReadMonth | None
    corrections: int  # GPU-seconds that came after it was closed
    why_not: str

    @property
    def anchor(self) -> str:
        return f"close-{self.month}"


@require_safe
def cluster_months(request: PersonRequest, name: str) -> HttpResponse:
    check_permission(request.user, Permission.SEE_CLUSTERS)
    cluster = get_object_or_404(Cluster.objects.select_related("policy"), name=name)
    page = page_of(request, months.since_first_use(cluster))
    context = {
        "cluster": cluster,
        "page": page,
        "rows": month_rows(cluster, list(page)),
        "policy": policy_of(cluster),
        "may_close": has_permission(request.user, Permission.CLOSE_MONTHS),
    }
    return render(request, "accounting/months.html", context)


@require_POST
@confirm_again
def month_close(request: PersonRequest, name: str) -> HttpResponse:
    check_permission(request.user, Permission.CLOSE_MONTHS)
    cluster = get_object_or_404(Cluster, name=name)
    form = CloseForm(request.POST)
    if not form.is_valid():
        messages.error(request, " ".join(map(str, form.errors["month"])))
        return redirect("accounting:months", cluster.name)
    month = form.cleaned_data["month"]
    try:
        close_month(by=request.user, cluster=cluster, month=month)
        messages.success(request, _("%(month)s is closed.") % {"month": month.words})
    except (months.NotYet, Overtaken) as why_not:
        messages.warning(request, str(why_not))
    return redirect("accounting:months", cluster.name)


def month_rows(cluster: Cluster, shown: list[Month]) -> list[MonthRow]:
    """Four queries, whatever the number of months."""
    if not shown:
        return []
    finals = ClosedMonth.objects.filter(cluster=cluster).select_related("closed_by")
    closed = {month_of(final.month): final for final in finals}
    read = {month_of(one.month): one for one in ReadMonth.objects.filter(cluster=cluster)}
    span = (shown[-1].first, shown[0].last)
    still_open = [month for month in shown if month not in closed]
    used = (
        _used(cluster, cluster.usage_version, still_open[-1].first, still_open[0].last) if still_open else {}
    )
    corrected = _by_month(UsageCorrection.objects.filter(cluster=cluster, day__range=span))
    return [
        MonthRow(
            month=month,
            gpu_seconds=closed[month].gpu_seconds if month in closed else used.get(month, 0),
            closed=closed.get(month),
            read=read.get(month),
            corrections=corrected.get(month, 0),
            why_not="" if month in closed else _why_not(cluster, month, read.get(month)),
        )
        for month in shown
    ]


@kept
def _used(cluster: Cluster, version: int, first: date, last: date) -> Mapping[Month, int]:
    """`version` is the mark: of usage, as the cluster was read."""
    return _by_month(UsageDay.objects.filter(cluster=cluster, day__range=(first, last)))


def _by_month(rows: QuerySet[Any]) -> dict[Month, int]:
    summed = rows.order_by().values(month=TruncMonth("day")).annotate(sum=Sum("gpu_seconds"))
    return {month_of(row["month"]): row["sum"] for row in summed}


def _why_not(cluster: Cluster, month: Month, read: ReadMonth | None) -> str:
    """In a word, for a list; the whole sentence comes with the refusal."""
    if not months.is_over(month):
        return _("not over yet")
    if not cluster.accepts_jobs or (read and read.read_at >= months.end_of(month)):
        return ""
    return _("not read to its end yet")
