"""Projects, for programs: the same sight as the pages."""

from __future__ import annotations

from django.db.models import QuerySet
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounting.actions.proposals import propose_project
from accounting.actions.publications import add_publication
from accounting.api.saying import said
from accounting.forms.outcomes import FIRST_YEAR, latest_year, parse_doi
from accounting.forms.proposals import labs_of
from accounting.models import Publication
from portal.api import Endpoints, Pages, Slug, StrictSerializer, WholeNumber, person
from portal.fields_of_science import CHOICES
from portal.models import Funder, Lab, Project
from portal.permissions import Permission, check_permission


class ProjectSerializer(serializers.ModelSerializer[Project]):
    lab = serializers.CharField(source="lab.name", read_only=True)
    institution = serializers.CharField(source="lab.institution.name", read_only=True)

    class Meta:
        model = Project
        fields = ("slug", "title", "abstract", "field_of_science", "state", "account", "lab", "institution")


@extend_schema_field(str)
class VisibleProject(Slug[Project]):
    """Outside of what one may see, a project does not exist."""

    def get_queryset(self) -> QuerySet[Project]:
        return Project.objects.visible_to(person(self.context["request"])).select_related("lab")


@extend_schema_field(str)
class OwnLab(Slug[Lab]):
    """A lab for which one may ask, by its account."""

    def get_queryset(self) -> QuerySet[Lab]:
        return labs_of(person(self.context["request"]))


class ProposalSerializer(StrictSerializer):
    """A project that is proposed. Its first request follows as a request of the kind `new`."""

    lab = OwnLab(slug_field="account", help_text="The lab's account.")
    title = serializers.CharField(max_length=200)
    abstract = serializers.CharField(max_length=5000)
    field_of_science = serializers.ChoiceField(choices=CHOICES)
    funder = Slug[Funder](slug_field="slug", queryset=Funder.objects.all(), required=False, allow_null=True)
    grant_number = serializers.CharField(max_length=100, required=False, allow_blank=True, default="")


class PublicationSerializer(serializers.ModelSerializer[Publication]):
    class Meta:
        model = Publication
        fields = ("id", "doi", "title", "year")


class NewPublicationSerializer(StrictSerializer):
    doi = serializers.CharField(max_length=300)
    title = serializers.CharField(max_length=500)
    year = WholeNumber(min_value=FIRST_YEAR)

    def validate_doi(self, doi: str) -> str:
        return parse_doi(doi)

    def validate_year(self, year: int) -> int:
        if year > latest_year():
            raise serializers.ValidationError(
                _("Type a year from %(first)s to %(last)s.") % {"first": FIRST_YEAR, "last": latest_year()}
            )
        return year


class Projects(mixins.ListModelMixin, mixins.RetrieveModelMixin, Endpoints[Project]):
    """The projects whose pages I may open."""

    queryset = Project.objects.select_related("lab__institution")
    serializer_class = ProjectSerializer
    lookup_field = "slug"
    lookup_value_regex = r"[-a-zA-Z0-9_]{1,60}"

    def get_queryset(self) -> QuerySet[Project]:
        return Project.objects.visible_to(person(self.request)).select_related("lab__institution")

    @extend_schema(request=ProposalSerializer, responses={201: ProjectSerializer})
    def create(self, request: Request) -> Response:
        """Propose a project."""
        body = ProposalSerializer(data=request.data, context=self.get_serializer_context())
        check_permission(person(request), Permission.REQUEST_HOURS)
        body.is_valid(raise_exception=True)
        made = propose_project(by=person(request), **body.validated_data)
        return Response(ProjectSerializer(made).data, status=201)

    @extend_schema(methods=["get"], responses=PublicationSerializer(many=True))
    @extend_schema(methods=["post"], request=NewPublicationSerializer, responses={201: PublicationSerializer})
    @action(detail=True, methods=["get", "post"], serializer_class=PublicationSerializer)
    def publications(self, request: Request, slug: str) -> Response:
        """What came out of the project, by DOI."""
        project = self.get_object()
        if request.method != "POST":
            pages = Pages()
            page = pages.paginate_queryset(project.publications.all(), request, self)
            return pages.get_paginated_response(PublicationSerializer(page, many=True).data)
        check_permission(person(request), Permission.REQUEST_HOURS, lab=project.lab)
        body = NewPublicationSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        made = said(add_publication, by=person(request), project=project, **body.validated_data)
        return Response(PublicationSerializer(made).data, status=201)
