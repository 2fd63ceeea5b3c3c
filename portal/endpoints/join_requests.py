"""Requests to join a lab: ask, withdraw; for who leads it: accept, decline."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from portal.actions import joining as actions
from portal.api import Endpoints, NoBodySerializer, StrictSerializer, person
from portal.endpoints.named import LabByNumber
from portal.endpoints.places import NUMBER
from portal.mail_domains import verified_domains
from portal.models import JoinRequest, Lab


class JoinRequestSerializer(serializers.ModelSerializer[JoinRequest]):
    person = serializers.CharField(source="user.name", read_only=True)
    email = serializers.EmailField(source="user.email", read_only=True)

    class Meta:
        model = JoinRequest
        fields = ("id", "person", "email", "lab", "state", "message", "created_at", "decided_at")


class JoinableLab(LabByNumber):
    """A lab that somebody with this address may ask; others do not exist."""

    def get_queryset(self) -> QuerySet[Lab]:
        domains = verified_domains(person(self.context["request"]))
        return Lab.objects.joinable_from(domains).select_related("institution")


class NewJoinRequestSerializer(StrictSerializer):
    lab = JoinableLab()
    message = serializers.CharField(max_length=2000, required=False, allow_blank=True, default="")


class JoinRequests(mixins.ListModelMixin, mixins.RetrieveModelMixin, Endpoints[JoinRequest]):
    """My requests, and those to labs that I lead."""

    queryset = JoinRequest.objects.all()
    serializer_class = JoinRequestSerializer
    lookup_value_regex = NUMBER

    def get_queryset(self) -> QuerySet[JoinRequest]:
        user = person(self.request)
        visible = JoinRequest.objects.visible_to(user)
        if self.action == "withdraw":
            visible = visible.filter(user=user)
        return visible.select_related("user", "lab__institution").order_by("-pk")

    @extend_schema(request=NewJoinRequestSerializer, responses={201: JoinRequestSerializer})
    def create(self, request: Request) -> Response:
        body = NewJoinRequestSerializer(data=request.data, context=self.get_serializer_context())
        body.is_valid(raise_exception=True)
        made = actions.ask_to_join(by=person(request), **body.validated_data)
        return Response(JoinRequestSerializer(made).data, status=201)

    @extend_schema(request=NoBodySerializer, responses=JoinRequestSerializer)
    @action(detail=True, methods=["post"], serializer_class=NoBodySerializer)
    def accept(self, request: Request, pk: str) -> Response:
        return self._done(actions.accept_request, request)

    @extend_schema(request=NoBodySerializer, responses=JoinRequestSerializer)
    @action(detail=True, methods=["post"], serializer_class=NoBodySerializer)
    def decline(self, request: Request, pk: str) -> Response:
        return self._done(actions.decline_request, request)

    @extend_schema(request=NoBodySerializer, responses=JoinRequestSerializer)
    @action(detail=True, methods=["post"], serializer_class=NoBodySerializer)
    def withdraw(self, request: Request, pk: str) -> Response:
        """Only one's own."""
        return self._done(actions.withdraw_request, request)

    def _done(self, deed: Callable[..., Any], request: Request) -> Response:
        asked = self.get_object()
        NoBodySerializer(data=request.data).is_valid(raise_exception=True)
        deed(by=person(request), asked=asked)
        return Response(JoinRequestSerializer(self.get_object()).data)
