"""Roles, for programs: who is what where, and how it ends, changes and moves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db.models import QuerySet
from django.utils.translation import gettext_lazy
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from portal.actions import memberships as actions
from portal.api import Endpoints, StrictSerializer, WholeNumber, person
from portal.models import Lab, Membership, Role
from portal.models.people import LAB_ROLE_CHOICES
from portal.permissions import Permission, check_permission

MAX_ID = 2**63 - 1


class MembershipSerializer(serializers.ModelSerializer[Membership]):
    person = serializers.CharField(source="user.name", read_only=True)
    email = serializers.EmailField(source="user.email", read_only=True)
    institution = serializers.SerializerMethodField(help_text="Its slug.")
    funder = serializers.SlugRelatedField[Any](slug_field="slug", read_only=True)

    class Meta:
        model = Membership
        fields = ("id", "person", "email", "role", "lab", "institution", "funder", "started_at", "ended_at")

    def get_institution(self, membership: Membership) -> str | None:
        place = membership.lab.institution if membership.lab else membership.institution
        return place.slug if place else None


@extend_schema_field(int)
class OfRows(WholeNumber):
    """The id of one of the rows that `rows(context)` gives; another one does not exist here."""

    def __init__(self, rows: Callable[[Any], QuerySet[Any]], **more: Any) -> None:
        super().__init__(min_value=1, max_value=MAX_ID, **more)
        self.rows = rows
        self.error_messages["no_such"] = gettext_lazy(
            "There is no such thing here, or it is not yours to see."
        )

    def run_validation(self, data: Any = serializers.empty) -> Any:
        pk = super().run_validation(data)
        if pk is None:
            return None
        found = self.rows(self.context).filter(pk=pk).first()
        if found is None:
            self.fail("no_such")
        return found


def _successors(context: Any) -> QuerySet[Membership]:
    return actions.possible_successors(context["membership"])


def _labs(context: Any) -> QuerySet[Lab]:
    return actions.labs_to_move_to(person(context["request"]), context["membership"])


class EndSerializer(StrictSerializer):
    """`successor`: the membership that becomes PI, where the lab would be without one."""

    reason = serializers.CharField(max_length=500, required=False, allow_blank=True, default="")
    successor = OfRows(_successors, required=False, allow_null=True, default=None)


class RoleSerializer(StrictSerializer):
    role = serializers.ChoiceField(choices=LAB_ROLE_CHOICES)


class MoveSerializer(StrictSerializer):
    lab = OfRows(_labs)
    role = serializers.ChoiceField(choices=LAB_ROLE_CHOICES, default=Role.MEMBER.value)


class Memberships(mixins.ListModelMixin, mixins.RetrieveModelMixin, Endpoints[Membership]):
    """Roles that hold today, of the people whom I may see."""

    queryset = Membership.objects.all()
    serializer_class = MembershipSerializer
    lookup_value_regex = r"[0-9]{1,18}"

    def get_queryset(self) -> QuerySet[Membership]:
        current = Membership.objects.current().visible_to(person(self.request))
        return current.select_related("user", "lab__institution", "institution", "funder").order_by("pk")

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        check_permission(person(request), Permission.SEE_PEOPLE)
        return super().list(request, *args, **kwargs)

    @extend_schema(request=EndSerializer, responses=MembershipSerializer)
    @action(detail=True, methods=["post"], serializer_class=EndSerializer)
    def end(self, request: Request, pk: str) -> Response:
        """End a role: one's own, or of whom one looks after."""
        return self._done(request, actions.check_may_end, actions.end)

    @extend_schema(request=RoleSerializer, responses=MembershipSerializer)
    @action(detail=True, methods=["post"], serializer_class=RoleSerializer)
    def role(self, request: Request, pk: str) -> Response:
        """Make a lab's member its PI, or a PI a member."""
        return self._done(request, actions.check_may_change, actions.change_role)

    @extend_schema(request=MoveSerializer, responses=MembershipSerializer)
    @action(detail=True, methods=["post"], serializer_class=MoveSerializer)
    def move(self, request: Request, pk: str) -> Response:
        """To another lab: inside an institution by its admins, between two by the centre."""
        return self._done(request, actions.check_may_move, actions.move)

    def _done(self, request: Request, check: Callable[..., None], deed: Callable[..., Any]) -> Response:
        """Fetch within sight, check the body, call one action, answer with the role as it is now."""
        membership = self.get_object()
        check(person(request), membership)
        context = {**self.get_serializer_context(), "membership": membership}
        body = self.get_serializer_class()(data=request.data, context=context)
        body.is_valid(raise_exception=True)
        try:
            changed = deed(by=person(request), membership=membership, **body.validated_data)
        except actions.NeedsPI as needs:
            raise serializers.ValidationError({"successor": [str(needs)]}) from None
        return Response(MembershipSerializer(changed or membership).data)
