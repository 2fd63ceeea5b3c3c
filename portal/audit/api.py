"""The audit, for programs: the same sight and the same filters as the page."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import exceptions, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from portal.api import check_known, person
from portal.audit.forms import AuditFilter, before, row_of
from portal.lists import PER_PAGE
from portal.models import AuditEvent
from portal.permissions import Permission, check_permission


class EventSerializer(serializers.ModelSerializer[AuditEvent]):
    actor = serializers.CharField(source="actor.name", default=None, allow_null=True, read_only=True)
    project = serializers.CharField(source="project.slug", default=None, allow_null=True, read_only=True)
    kind = serializers.CharField(source="object_type", help_text='Such as "jobs.job".')
    number = serializers.CharField(source="object_id", help_text="Of the thing of that kind.")

    class Meta:
        model = AuditEvent
        fields = ("id", "at", "actor", "action", "kind", "number", "project", "detail")


class EventsSerializer(serializers.Serializer[Any]):
    before = serializers.IntegerField(
        allow_null=True, help_text="Ask for the next page by this; null: this was the last."
    )
    results = EventSerializer(many=True)


class Audit(APIView):
    """Who did what to which thing, newest first."""

    @extend_schema(
        operation_id="audit_list",
        responses=EventsSerializer,
        parameters=[
            OpenApiParameter("who", str, description="Part of a name or an e-mail address."),
            OpenApiParameter("what", str, description="The action, whole."),
            OpenApiParameter("kind", str),
            OpenApiParameter("number", str),
            OpenApiParameter("project", str, description="Its slug, or part of its title."),
            OpenApiParameter("first", str, description="A day, such as 2026-01-31."),
            OpenApiParameter("last", str, description="A day, which is included."),
            OpenApiParameter("before", int, description="Rows older than the one of this id."),
        ],
    )
    def get(self, request: Request) -> Response:
        user = person(request)
        check_permission(user, Permission.SEE_AUDIT)
        check_known(request.query_params, {*AuditFilter.base_fields, "before", "format"})
        visible = AuditEvent.objects.visible_to(user).select_related("actor", "project")
        form = AuditFilter(request.query_params)
        events = form.narrow(visible)
        if form.errors:
            raise exceptions.ValidationError(
                {name: [str(one) for one in errors] for name, errors in form.errors.items()}
            )
        if given := request.query_params.get("before"):
            row = row_of(given, visible)
            if row is None:
                raise exceptions.ValidationError({"before": [_("There is no such row.")]})
            events = before(events, row)
        found = list(events[: PER_PAGE + 1])
        page = {
            "before": found[PER_PAGE - 1].pk if len(found) > PER_PAGE else None,
            "results": found[:PER_PAGE],
        }
        return Response(EventsSerializer(page).data)
