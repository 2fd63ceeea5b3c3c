"""People, for programs: who is there, and for staff, who gets in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from portal.actions import access as actions
from portal.api import Endpoints, NoBodySerializer, StrictSerializer, person
from portal.models import User
from portal.permissions import Permission, check_permission
from portal.reauthentication import check_confirmed


class PersonSerializer(serializers.ModelSerializer[User]):
    """`is_active`: whether they can log in."""

    class Meta:
        model = User
        fields = ("id", "name", "email", "is_active")
        read_only_fields = fields


class AccessReasonSerializer(StrictSerializer):
    reason = serializers.CharField(max_length=500)


class People(mixins.ListModelMixin, mixins.RetrieveModelMixin, Endpoints[User]):
    """The people whom I may see, also those of before."""

    queryset = User.objects.all()
    serializer_class = PersonSerializer
    lookup_value_regex = r"[0-9]{1,18}"

    def get_queryset(self) -> QuerySet[User]:
        return User.objects.visible_to(person(self.request)).order_by("pk")

    def shown(self) -> QuerySet[User]:
        return User.objects.all()

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        check_permission(person(request), Permission.SEE_PEOPLE)
        return super().list(request, *args, **kwargs)

    @extend_schema(request=AccessReasonSerializer, responses=PersonSerializer)
    @action(detail=True, methods=["post"], url_path="switch-off", serializer_class=AccessReasonSerializer)
    def switch_off(self, request: Request, pk: str) -> Response:
        """End somebody's access, until it is switched on again."""
        return self._done(request, actions.check_may_switch, actions.switch_off)

    @extend_schema(request=NoBodySerializer, responses=PersonSerializer)
    @action(detail=True, methods=["post"], url_path="switch-on", serializer_class=NoBodySerializer)
    def switch_on(self, request: Request, pk: str) -> Response:
        """Let somebody in again."""
        return self._done(request, actions.check_may_switch, actions.switch_on)

    @extend_schema(request=AccessReasonSerializer, responses=PersonSerializer)
    @action(
        detail=True, methods=["post"], url_path="reset-second-factor", serializer_class=AccessReasonSerializer
    )
    def reset_second_factor(self, request: Request, pk: str) -> Response:
        """Remove the second factors of somebody who lost them. `reason`: how you know that it is this person who asks."""
        return self._done(request, actions.check_may_reset, actions.reset_second_factor)

    def _done(self, request: Request, check: Callable[..., None], deed: Callable[..., None]) -> Response:
        """Fetch within sight, check the body, call one action, answer with the person as they are now."""
        found = self.get_object()
        check(person(request), found)
        check_confirmed(request._request)
        body = self.get_serializer_class()(data=request.data)
        body.is_valid(raise_exception=True)
        deed(by=person(request), person=found, **body.validated_data)
        return Response(PersonSerializer(found).data)
