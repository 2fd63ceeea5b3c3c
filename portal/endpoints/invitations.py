"""Invitations: one, or many at once; send again, revoke. Accepting is for people, on the page of the link."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db.models import QuerySet
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from portal.actions import bulk_invitations
from portal.actions import invitations as actions
from portal.actions.bulk_invitations import MOST, Fate
from portal.api import Endpoints, NoBodySerializer, Slug, StrictSerializer, person
from portal.endpoints.named import VisibleInstitution, VisibleLab
from portal.endpoints.places import NUMBER
from portal.models import Funder, Institution, Invitation, Role
from portal.models.people import LAB_ROLES
from portal.pasted import Pasted
from portal.permissions import Permission, check_permission


class InvitationSerializer(serializers.ModelSerializer[Invitation]):
    institution = serializers.SlugRelatedField[Institution](slug_field="slug", read_only=True)
    funder = serializers.SlugRelatedField[Funder](slug_field="slug", read_only=True)
    is_open = serializers.BooleanField(read_only=True)

    class Meta:
        model = Invitation
        fields = (
            "id",
            "email",
            "role",
            "lab",
            "institution",
            "funder",
            "invited_at",
            "expires_at",
            "accepted_at",
            "revoked_at",
            "is_open",
        )


class NewInvitationSerializer(StrictSerializer):
    """Name the place that the role holds in: `lab`, `institution` or `funder`; none of them is the centre."""

    email = serializers.EmailField(max_length=254)
    role = serializers.ChoiceField(choices=Role.choices)
    lab = VisibleLab(required=False)
    institution = VisibleInstitution(slug_field="slug", required=False)
    funder = Slug[Funder](slug_field="slug", queryset=Funder.objects.all(), required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        places = [attrs[name] for name in ("lab", "institution", "funder") if name in attrs]
        if len(places) > 1:
            raise serializers.ValidationError(_("Name one place, not several."))
        place = places[0] if places else None
        if attrs["role"] not in actions.roles_of(place):
            raise serializers.ValidationError({"role": _("This role can't be given there.")})
        return {"email": attrs["email"], "role": attrs["role"], "place": place}


class ListedSerializer(StrictSerializer):
    email = serializers.CharField(max_length=254)
    name = serializers.CharField(max_length=150, required=False, allow_blank=True, default="")
    role = serializers.CharField(max_length=20, required=False, allow_blank=True, default="")


class ManySerializer(StrictSerializer):
    """With `dry_run` nothing is sent: the answer says what would be."""

    lab = VisibleLab()
    role = serializers.ChoiceField(
        choices=[(role.value, role.label) for role in LAB_ROLES], default=Role.MEMBER
    )
    people = serializers.ListField(child=ListedSerializer(), allow_empty=False, max_length=MOST)
    dry_run = serializers.BooleanField(default=True)


class LineSerializer(serializers.Serializer[Any]):
    line = serializers.IntegerField()
    email = serializers.CharField()
    name = serializers.CharField()
    role = serializers.CharField()
    fate = serializers.ChoiceField(choices=[fate.value for fate in Fate], source="fate.value")
    why = serializers.CharField()


class Invitations(mixins.ListModelMixin, mixins.RetrieveModelMixin, Endpoints[Invitation]):
    """Invitations into the places where I invite."""

    queryset = Invitation.objects.all()
    serializer_class = InvitationSerializer
    lookup_value_regex = NUMBER

    def get_queryset(self) -> QuerySet[Invitation]:
        visible = Invitation.objects.visible_to(person(self.request))
        return visible.select_related("lab__institution", "institution", "funder").order_by("-pk")

    @extend_schema(request=NewInvitationSerializer, responses={201: InvitationSerializer})
    def create(self, request: Request) -> Response:
        check_permission(person(request), Permission.INVITE)
        body = NewInvitationSerializer(data=request.data, context=self.get_serializer_context())
        body.is_valid(raise_exception=True)
        made = actions.invite(by=person(request), **body.validated_data)
        return Response(InvitationSerializer(made).data, status=201)

    @extend_schema(request=ManySerializer, responses=LineSerializer(many=True))
    @action(detail=False, methods=["post"], serializer_class=ManySerializer, pagination_class=None)
    def many(self, request: Request) -> Response:
        """Invite up to 200 people into a lab, or only see what would happen."""
        check_permission(person(request), Permission.INVITE)
        body = ManySerializer(data=request.data, context=self.get_serializer_context())
        body.is_valid(raise_exception=True)
        wanted = body.validated_data
        people = [Pasted(line, **one) for line, one in enumerate(wanted["people"], start=1)]
        deed = bulk_invitations.look_through if wanted["dry_run"] else bulk_invitations.invite_all
        lines = deed(by=person(request), lab=wanted["lab"], people=people, role=wanted["role"])
        return Response(LineSerializer(lines, many=True).data)

    @extend_schema(request=NoBodySerializer, responses=InvitationSerializer)
    @action(detail=True, methods=["post"], serializer_class=NoBodySerializer)
    def again(self, request: Request, pk: str) -> Response:
        """Send it again, with a new link and seven new days."""
        return self._done(actions.send_again, request)

    @extend_schema(request=NoBodySerializer, responses=InvitationSerializer)
    @action(detail=True, methods=["post"], serializer_class=NoBodySerializer)
    def revoke(self, request: Request, pk: str) -> Response:
        return self._done(actions.revoke, request)

    def _done(self, deed: Callable[..., Any], request: Request) -> Response:
        invitation = self.get_object()
        NoBodySerializer(data=request.data).is_valid(raise_exception=True)
        deed(by=person(request), invitation=invitation)
        return Response(InvitationSerializer(self.get_object()).data)
