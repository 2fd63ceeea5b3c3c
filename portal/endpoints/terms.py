"""Terms, for programs: which versions there are, what they say, and accepting the one in force."""

from __future__ import annotations

from typing import Any

from django.db.models import Exists, OuterRef, QuerySet, Subquery
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from portal.actions import terms as actions
from portal.api import Endpoints, NoBodySerializer, StrictSerializer, person
from portal.endpoints.named import checked
from portal.forms.terms import TermsForm
from portal.models import Terms, TermsAcceptance
from portal.permissions import Permission, check_permission


class VersionSerializer(serializers.ModelSerializer[Terms]):
    in_force = serializers.BooleanField(read_only=True)
    accepted_at = serializers.DateTimeField(read_only=True, allow_null=True, help_text="By you.")

    class Meta:
        model = Terms
        fields = ("id", "kind", "version", "published_at", "in_force", "accepted_at")


class TextSerializer(VersionSerializer):
    class Meta:
        model = Terms
        fields = (*VersionSerializer.Meta.fields, "text_en", "text_zh_hans")


class NewTermsSerializer(StrictSerializer):
    """Both languages, since who accepts must be able to read it."""

    kind = serializers.ChoiceField(choices=Terms.Kind.choices)
    text_en = serializers.CharField(max_length=100_000)
    text_zh_hans = serializers.CharField(max_length=100_000)


class AllTerms(mixins.ListModelMixin, mixins.RetrieveModelMixin, Endpoints[Terms]):
    """Each version that was published; the list is without the texts."""

    queryset = Terms.objects.all()
    lookup_value_regex = r"[0-9]{1,18}"

    def get_queryset(self) -> QuerySet[Terms]:
        newer = Terms.objects.filter(kind=OuterRef("kind"), version__gt=OuterRef("version"))
        mine = TermsAcceptance.objects.filter(terms=OuterRef("pk"), user=person(self.request))
        told = Terms.objects.annotate(in_force=~Exists(newer), accepted_at=Subquery(mine.values("at")[:1]))
        return told.order_by("kind", "-version")

    def get_serializer_class(self) -> type[serializers.BaseSerializer[Any]]:
        return VersionSerializer if self.action == "list" else TextSerializer

    @extend_schema(request=NewTermsSerializer, responses={201: TextSerializer})
    def create(self, request: Request) -> Response:
        """A new version, in force from now on."""
        check_permission(person(request), Permission.PUBLISH_TERMS)
        body = NewTermsSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        kind = body.validated_data.pop("kind")
        wanted = checked(TermsForm(body.validated_data, latest=None))
        made = actions.publish(by=person(request), kind=kind, **wanted)
        return Response(TextSerializer(self.get_queryset().get(pk=made.pk)).data, status=201)

    @extend_schema(request=NoBodySerializer, responses=TextSerializer)
    @action(detail=True, methods=["post"])
    def accept(self, request: Request, pk: str) -> Response:
        """Accept this version of the terms of use, after reading it. 409: it is not the one in force."""
        read = self.get_object()
        NoBodySerializer(data=request.data).is_valid(raise_exception=True)
        actions.accept(by=person(request), terms=read)
        return Response(TextSerializer(self.get_object()).data)
