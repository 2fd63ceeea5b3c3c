"""The audit page, and its rows for a spreadsheet."""

from __future__ import annotations

import json
from collections.abc import Iterator

from django.http import HttpRequest, HttpResponse, HttpResponseBase, QueryDict, StreamingHttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from portal.audit.forms import AuditFilter, before, row_of
from portal.audit.sentences import told
from portal.lists import PER_PAGE
from portal.models import AuditEvent
from portal.models.audit import AuditEventQuerySet
from portal.permissions import Permission, check_permission
from portal.requests import PersonRequest
from portal.sheets import csv_text

HEAD = ("id", "at", "actor", "actor_email", "action", "kind", "number", "project", "before", "note", "detail")


@require_safe
def audit(request: PersonRequest) -> HttpResponse:
    """Newest first. Turned by the last row seen: nobody counts the rows, however many there are."""
    form = AuditFilter(request.GET)
    events = form.narrow(visible(request))
    row = row_of(request.GET.get("before", ""), visible(request))
    if row:
        events = before(events, row)
    found = list(events[: PER_PAGE + 1])
    context = {
        "form": form,
        "lines": told(found[:PER_PAGE], reader=request.user),
        "older": _with(request, before=found[PER_PAGE - 1].pk) if len(found) > PER_PAGE else "",
        "newest": _with(request, before=None) if row else "",
        "filtered": any(form.cleaned_data.values()) or not form.is_valid(),
        "download": f"{reverse('portal:audit_csv')}?{_query(request, before=None).urlencode()}",
    }
    return render(request, "portal/audit.html", context)


@require_safe
def rows_csv(request: PersonRequest) -> HttpResponseBase:
    """All rows that fit the filters, streamed. Headings stay English, for scripts; times are UTC."""
    events = AuditFilter(request.GET).narrow(visible(request))
    headers = {"Content-Disposition": 'attachment; filename="audit.csv"'}
    return StreamingHttpResponse(
        csv_text(_lines(events)), content_type="text/csv; charset=utf-8", headers=headers
    )


def visible(request: PersonRequest) -> AuditEventQuerySet:
    check_permission(request.user, Permission.SEE_AUDIT)
    return AuditEvent.objects.visible_to(request.user).select_related("actor", "project")


def _lines(events: AuditEventQuerySet) -> Iterator[tuple[object, ...]]:
    yield HEAD
    for event in events.iterator():
        detail = dict(event.detail)
        yield (
            event.pk,
            f"{event.at:%Y-%m-%dT%H:%M:%SZ}",
            event.actor or "",
            event.actor.email if event.actor else "",
            event.action,
            event.object_type,
            event.object_id,
            event.project.slug if event.project else "",
            detail.pop("before", ""),
            detail.pop("note", ""),
            json.dumps(detail, sort_keys=True) if detail else "",
        )


def _query(request: HttpRequest, *, before: int | None) -> QueryDict:
    query = request.GET.copy()
    query.pop("before", None)
    if before is not None:
        query["before"] = str(before)
    return query


def _with(request: HttpRequest, *, before: int | None) -> str:
    return f"?{_query(request, before=before).urlencode()}"
