"""Institutions, labs and who is in them."""

from __future__ import annotations

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers
from rest_framework.request import Request
from rest_framework.response import Response

from portal.actions import institutions as actions
from portal.api import Endpoints, StrictSerializer, person
from portal.endpoints.named import VisibleInstitution, checked
from portal.forms.institutions import InstitutionForm, LabForm, RegistrationForm
from portal.models import Institution, Lab
from portal.permissions import Permission, check_permission

NUMBER = r"[0-9]{1,18}"


class InstitutionSerializer(serializers.ModelSerializer[Institution]):
    class Meta:
        model = Institution
        fields = ("slug", "name", "country", "account", "mail_domain", "created_at")


class NewInstitutionSerializer(StrictSerializer):
    """`admin`, an address, is invited to look after it."""

    name = serializers.CharField(max_length=200)
    slug = serializers.CharField(max_length=60)
    account = serializers.CharField(max_length=40)
    country = serializers.CharField(max_length=2, required=False, allow_blank=True)
    mail_domain = serializers.CharField(max_length=253, required=False, allow_blank=True)
    admin = serializers.CharField(max_length=254, required=False, allow_blank=True)


class ChangedInstitutionSerializer(StrictSerializer):
    """What may change; what isn't given stays as it is."""

    name = serializers.CharField(max_length=200, required=False)
    country = serializers.CharField(max_length=2, required=False, allow_blank=True)
    mail_domain = serializers.CharField(max_length=253, required=False, allow_blank=True)


class Institutions(mixins.ListModelMixin, mixins.RetrieveModelMixin, Endpoints[Institution]):
    """The institutions that I may see; for the centre's staff: register and change one."""

    queryset = Institution.objects.all()
    serializer_class = InstitutionSerializer
    lookup_field = "slug"
    lookup_value_regex = r"[-a-zA-Z0-9_]{1,60}"

    def get_queryset(self) -> QuerySet[Institution]:
        return Institution.objects.visible_to(person(self.request)).order_by("name", "pk")

    @extend_schema(request=NewInstitutionSerializer, responses={201: InstitutionSerializer})
    def create(self, request: Request) -> Response:
        user = person(request)
        check_permission(user, Permission.MANAGE_INSTITUTIONS)
        body = NewInstitutionSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        wanted = checked(RegistrationForm(body.validated_data))
        made = actions.register_institution(by=user, **wanted)
        return Response(InstitutionSerializer(made).data, status=201)

    @extend_schema(request=ChangedInstitutionSerializer, responses=InstitutionSerializer)
    def partial_update(self, request: Request, slug: str) -> Response:
        """Its name, country and mail domain. Its short name is in addresses, its account in the scheduler: they stay."""
        here = self.get_object()
        check_permission(person(request), Permission.MANAGE_INSTITUTIONS)
        body = ChangedInstitutionSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        now = {"name": here.name, "country": here.country, "mail_domain": here.mail_domain}
        wanted = checked(InstitutionForm(now | body.validated_data, of=here))
        actions.change_institution(by=person(request), institution=here, **wanted)
        return Response(InstitutionSerializer(self.get_object()).data)


class LabSerializer(serializers.ModelSerializer[Lab]):
    institution = serializers.SlugRelatedField[Institution](slug_field="slug", read_only=True)

    class Meta:
        model = Lab
        fields = ("id", "institution", "name", "slug", "account", "created_at", "closed_at")


class NewLabSerializer(StrictSerializer):
    """`pi`, an address, is invited to lead it. Without `slug`, it is made from the name."""

    institution = VisibleInstitution(slug_field="slug")
    name = serializers.CharField(max_length=200)
    slug = serializers.CharField(max_length=20, required=False, allow_blank=True)
    pi = serializers.CharField(max_length=254)


class Labs(mixins.ListModelMixin, mixins.RetrieveModelMixin, Endpoints[Lab]):
    """The labs that I may see; for an institution's admin and the centre's staff: make one."""

    queryset = Lab.objects.all()
    serializer_class = LabSerializer
    lookup_value_regex = NUMBER

    def get_queryset(self) -> QuerySet[Lab]:
        visible = Lab.objects.visible_to(person(self.request))
        return visible.select_related("institution").order_by("name", "pk")

    @extend_schema(request=NewLabSerializer, responses={201: LabSerializer})
    def create(self, request: Request) -> Response:
        body = NewLabSerializer(data=request.data, context=self.get_serializer_context())
        body.is_valid(raise_exception=True)
        institution = body.validated_data.pop("institution")
        check_permission(person(request), Permission.MANAGE_LABS, institution=institution)
        wanted = checked(LabForm(body.validated_data, institution=institution))
        made = actions.create_lab(by=person(request), institution=institution, **wanted)
        return Response(LabSerializer(made).data, status=201)
