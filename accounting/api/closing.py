"""Closing projects and labs, for programs: the same actions as the pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounting.actions import closing as actions
from accounting.api.projects import ProjectSerializer
from portal.api import Endpoints, StrictSerializer, person
from portal.models import Lab, Project


class WhySerializer(StrictSerializer):
    reason = serializers.CharField(max_length=500)


class ClosedLabSerializer(serializers.ModelSerializer[Lab]):
    institution = serializers.CharField(source="institution.name", read_only=True)

    class Meta:
        model = Lab
        fields = ("id", "name", "institution", "closed_at")


class ProjectsClosing(Endpoints[Project]):
    """Close a project, or open it again."""

    queryset = Project.objects.all()
    serializer_class = WhySerializer
    lookup_field = "slug"
    lookup_value_regex = r"[-a-zA-Z0-9_]{1,60}"

    def get_queryset(self) -> QuerySet[Project]:
        return Project.objects.visible_to(person(self.request)).select_related("lab__institution")

    @extend_schema(request=WhySerializer, responses=ProjectSerializer)
    @action(detail=True, methods=["post"])
    def close(self, request: Request, slug: str) -> Response:
        """No job and no request any more; its record stays."""
        return self._done(actions.close_project, request)

    @extend_schema(request=WhySerializer, responses=ProjectSerializer)
    @action(detail=True, methods=["post"])
    def reopen(self, request: Request, slug: str) -> Response:
        return self._done(actions.reopen_project, request)

    def _done(self, deed: Callable[..., Any], request: Request) -> Response:
        project = self.get_object()
        _do(deed, request, project=project)
        return Response(ProjectSerializer(project).data)


class LabsClosing(Endpoints[Lab]):
    """Close a lab with all that hangs on it."""

    queryset = Lab.objects.all()
    serializer_class = WhySerializer
    lookup_value_regex = r"[0-9]{1,18}"

    def get_queryset(self) -> QuerySet[Lab]:
        return Lab.objects.visible_to(person(self.request)).select_related("institution")

    @extend_schema(request=WhySerializer, responses=ClosedLabSerializer)
    @action(detail=True, methods=["post"])
    def close(self, request: Request, pk: str) -> Response:
        lab = self.get_object()
        _do(actions.close_lab, request, lab=lab)
        return Response(ClosedLabSerializer(lab).data)


def _do(deed: Callable[..., Any], request: Request, **thing: Any) -> None:
    """Check the body, call one action."""
    body = WhySerializer(data=request.data)
    body.is_valid(raise_exception=True)
    deed(by=person(request), **thing, **body.validated_data)
