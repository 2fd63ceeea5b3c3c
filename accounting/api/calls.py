"""Calls for requests, for programs."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounting.actions import calls as actions
from accounting.api.asking import NUMBER
from accounting.forms.fields import check_soon
from accounting.models import Call, Cluster
from accounting.units import MAX_GPU_SECONDS
from portal.api import Endpoints, NoBodySerializer, Slug, StrictSerializer, WholeNumber, person
from portal.permissions import Permission, check_permission, has_permission


class CallSerializer(serializers.ModelSerializer[Call]):
    cluster = serializers.SlugRelatedField[Cluster](slug_field="name", read_only=True)

    class Meta:
        model = Call
        fields = ("id", "title", "text", "cluster", "opens_at", "closes_at", "gpu_seconds", "is_open")


class NewCallSerializer(StrictSerializer):
    """`gpu_seconds`: to be given out; null where nobody says."""

    title = serializers.CharField(max_length=200)
    text = serializers.CharField(max_length=10_000)
    cluster = Slug[Cluster](slug_field="name", queryset=Cluster.objects.filter(accepts_jobs=True))
    opens_at = serializers.DateTimeField()
    closes_at = serializers.DateTimeField()
    gpu_seconds = WholeNumber(min_value=0, max_value=MAX_GPU_SECONDS, required=False, allow_null=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        check_soon(attrs["opens_at"].date())
        check_soon(attrs["closes_at"].date())
        if attrs["closes_at"] <= attrs["opens_at"]:
            raise serializers.ValidationError({"closes_at": _("It closes before it opens.")})
        return attrs


class Calls(mixins.ListModelMixin, mixins.RetrieveModelMixin, Endpoints[Call]):
    """Calls for requests: the open ones; to the centre all."""

    queryset = Call.objects.select_related("cluster")
    serializer_class = CallSerializer
    lookup_value_regex = NUMBER

    def get_queryset(self) -> QuerySet[Call]:
        user = person(self.request)
        check_permission(user, Permission.SEE_CALLS)
        shown = Call.objects.all() if has_permission(user, Permission.DECIDE_REQUEST) else Call.objects.open()
        return shown.select_related("cluster")

    @extend_schema(request=NewCallSerializer, responses={201: CallSerializer})
    def create(self, request: Request) -> Response:
        check_permission(person(request), Permission.KEEP_CALLS)
        call = actions.make_call(by=person(request), **self._body(request))
        return Response(CallSerializer(call).data, status=201)

    @extend_schema(request=NewCallSerializer, responses=CallSerializer)
    @action(detail=True, methods=["post"], serializer_class=NewCallSerializer)
    def change(self, request: Request, pk: str) -> Response:
        call = self.get_object()
        check_permission(person(request), Permission.KEEP_CALLS)
        actions.change_call(by=person(request), call=call, **self._body(request))
        return Response(CallSerializer(call).data)

    @extend_schema(request=NoBodySerializer, responses=CallSerializer)
    @action(detail=True, methods=["post"], serializer_class=NoBodySerializer)
    def close(self, request: Request, pk: str) -> Response:
        """Take no more requests from now on."""
        call = self.get_object()
        NoBodySerializer(data=request.data).is_valid(raise_exception=True)
        actions.close_call(by=person(request), call=call)
        return Response(CallSerializer(self.get_object()).data)

    def _body(self, request: Request) -> dict[str, Any]:
        body = NewCallSerializer(data=request.data, context=self.get_serializer_context())
        body.is_valid(raise_exception=True)
        return {"gpu_seconds": None} | dict(body.validated_data)
