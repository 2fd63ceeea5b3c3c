"""Projects, hours, requests and usage for programs: the same sight and the same actions as the pages.

Amounts are integer GPU-seconds; days and months are UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

from django.db.models import QuerySet
from django.urls import path
from django.utils import timezone
from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import mixins, routers, serializers
from rest_framework.decorators import action
from rest_framework.exceptions import NotAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounting import actions, ledger
from accounting.forms import PeriodForm, check_award, check_soon, check_start
from accounting.models import Allocation, AllocationRequest, Cluster, LedgerEntry, Partition
from accounting.reports import programmes, spending
from accounting.units import MAX_GPU_SECONDS
from portal.api import Conflict, Endpoints, Pages, Slug, StrictSerializer, WholeNumber, check_known
from portal.models import Project, User
from portal.permissions import Permission, check_permission

NUMBER = r"[0-9]{1,18}"


def person(request: Request) -> User:
    """Who asks. IsAuthenticated let nobody else through."""
    if not isinstance(request.user, User):
        raise NotAuthenticated
    return request.user


# ── What can be used: clusters and projects ──────────────────────────────────


class PartitionSerializer(serializers.ModelSerializer[Partition]):
    factor = serializers.SerializerMethodField(help_text="GPU-seconds charged for one GPU-second, today.")
    gpu_count = serializers.IntegerField(read_only=True)

    class Meta:
        model = Partition
        fields = (
            "name",
            "gpu_type",
            "tier",
            "node_count",
            "gpus_per_node",
            "gpu_count",
            "max_time_minutes",
            "factor",
        )

    def get_factor(self, partition: Partition) -> str:
        return f"{partition.factor_at(timezone.now()).normalize():f}"


class ClusterSerializer(serializers.ModelSerializer[Cluster]):
    partitions = PartitionSerializer(many=True, read_only=True)

    class Meta:
        model = Cluster
        fields = ("name", "title", "accepts_jobs", "partitions")


class Clusters(mixins.ListModelMixin, mixins.RetrieveModelMixin, Endpoints[Cluster]):
    """Clusters with their partitions. Everybody who is logged in may know them."""

    queryset = Cluster.objects.prefetch_related("partitions__factors")
    serializer_class = ClusterSerializer
    lookup_field = "name"
    lookup_value_regex = r"[-a-zA-Z0-9_]{1,40}"


class ProjectSerializer(serializers.ModelSerializer[Project]):
    lab = serializers.CharField(source="lab.name", read_only=True)
    institution = serializers.CharField(source="lab.institution.name", read_only=True)

    class Meta:
        model = Project
        fields = ("slug", "title", "abstract", "field_of_science", "state", "account", "lab", "institution")


class Projects(mixins.ListModelMixin, mixins.RetrieveModelMixin, Endpoints[Project]):
    """The projects whose pages I may open."""

    queryset = Project.objects.select_related("lab__institution")
    serializer_class = ProjectSerializer
    lookup_field = "slug"
    lookup_value_regex = r"[-a-zA-Z0-9_]{1,60}"

    def get_queryset(self) -> QuerySet[Project]:
        return Project.objects.visible_to(person(self.request)).select_related("lab__institution")


# ── Allocations and their ledger ─────────────────────────────────────────────


class BalanceSerializer(serializers.Serializer[ledger.Balance]):
    granted = serializers.IntegerField()
    used = serializers.IntegerField()
    held = serializers.IntegerField(help_text="Worst case of unfinished jobs.")
    balance = serializers.IntegerField(help_text="granted − used")
    available = serializers.IntegerField(help_text="balance − held")


class AllocationSerializer(serializers.ModelSerializer[Allocation]):
    project = serializers.SlugRelatedField[Project](slug_field="slug", read_only=True)
    cluster = serializers.SlugRelatedField[Cluster](slug_field="name", read_only=True)
    balance = serializers.SerializerMethodField()

    class Meta:
        model = Allocation
        fields = ("id", "project", "cluster", "start", "end", "balance")

    @extend_schema(responses=BalanceSerializer)
    def get_balance(self, allocation: Allocation) -> dict[str, int]:
        balances: dict[int, ledger.Balance] = self.context["balances"]
        return dict(BalanceSerializer(balances[allocation.pk]).data)


class EntrySerializer(serializers.ModelSerializer[LedgerEntry]):
    job_id = serializers.CharField(
        source="usage_record.job_id", default=None, read_only=True, allow_null=True
    )
    balance_after = serializers.IntegerField(read_only=True)

    class Meta:
        model = LedgerEntry
        fields = ("id", "at", "kind", "gpu_seconds", "balance_after", "job_id", "factor", "reason", "cites")


class Allocations(Endpoints[Allocation]):
    """GPU-hours that were granted to the projects I may see, with their balance."""

    queryset = Allocation.objects.select_related("project", "cluster")
    serializer_class = AllocationSerializer
    lookup_value_regex = NUMBER

    def get_queryset(self) -> QuerySet[Allocation]:
        return Allocation.objects.visible_to(person(self.request)).select_related("project", "cluster")

    @extend_schema(responses=AllocationSerializer(many=True))
    def list(self, request: Request) -> Response:
        page = self.paginate_queryset(self.get_queryset()) or []
        return self.get_paginated_response(self._with_balance(page))

    def retrieve(self, request: Request, pk: str) -> Response:
        return Response(self._with_balance([self.get_object()])[0])

    @extend_schema(responses=EntrySerializer(many=True))
    @action(detail=True, serializer_class=EntrySerializer)
    def ledger(self, request: Request, pk: str) -> Response:
        """The statement: every entry, newest first, with the balance after it."""
        pages = Pages()
        lines = pages.paginate_queryset(spending.statement_lines(self.get_object()), request, self)
        return pages.get_paginated_response(EntrySerializer(lines, many=True).data)

    def _with_balance(self, allocations: Sequence[Allocation]) -> Any:
        context = {"balances": ledger.balances(allocations)}
        return AllocationSerializer(allocations, many=True, context=context).data


# ── Requests ─────────────────────────────────────────────────────────────────


class ReviewSerializer(serializers.Serializer[Any]):
    verdict = serializers.CharField()
    gpu_seconds_awarded = serializers.IntegerField()
    comment = serializers.CharField()
    at = serializers.DateTimeField()


class RequestSerializer(serializers.ModelSerializer[AllocationRequest]):
    project = serializers.SlugRelatedField[Project](slug_field="slug", read_only=True)
    cluster = serializers.SlugRelatedField[Cluster](slug_field="name", read_only=True)
    reviews = ReviewSerializer(many=True, read_only=True)

    class Meta:
        model = AllocationRequest
        fields = (
            "id",
            "project",
            "cluster",
            "kind",
            "state",
            "gpu_seconds_asked",
            "start",
            "end",
            "justification",
            "created_at",
            "submitted_at",
            "decided_at",
            "reviews",
        )


@extend_schema_field(str)
class VisibleProject(Slug[Project]):
    """Outside of what one may see, a project does not exist."""

    def get_queryset(self) -> QuerySet[Project]:
        return Project.objects.visible_to(person(self.context["request"])).select_related("lab")


class NewRequestSerializer(StrictSerializer):
    """A wish for GPU-hours. It goes to the centre at once, unless `submit` is false."""

    project = VisibleProject(slug_field="slug")
    cluster = Slug[Cluster](slug_field="name", queryset=Cluster.objects.filter(accepts_jobs=True))
    gpu_seconds = WholeNumber(min_value=1, max_value=MAX_GPU_SECONDS)
    start = serializers.DateField()
    end = serializers.DateField()
    justification = serializers.CharField(max_length=10_000)
    submit = serializers.BooleanField(default=True)

    def validate_start(self, start: date) -> date:
        return check_start(start)

    def validate_end(self, end: date) -> date:
        return check_soon(end)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["end"] < attrs["start"]:
            raise serializers.ValidationError({"end": _("The last day is before the first one.")})
        return attrs


class NoBodySerializer(StrictSerializer):
    """Nothing needs to be said."""


class ApprovalSerializer(StrictSerializer):
    gpu_seconds = WholeNumber(min_value=1, max_value=MAX_GPU_SECONDS)
    comment = serializers.CharField(max_length=5000, required=False, allow_blank=True, default="")

    def validate_gpu_seconds(self, gpu_seconds: int) -> int:
        check_award(self.context["asked"], gpu_seconds)
        return gpu_seconds


class ReasonSerializer(StrictSerializer):
    comment = serializers.CharField(max_length=5000)


class Requests(mixins.ListModelMixin, mixins.RetrieveModelMixin, Endpoints[AllocationRequest]):
    """Requests for GPU-hours: ask, submit, withdraw; for the centre: approve (in part), return, reject."""

    queryset = AllocationRequest.objects.select_related("project", "cluster")
    serializer_class = RequestSerializer
    lookup_value_regex = NUMBER

    def get_queryset(self) -> QuerySet[AllocationRequest]:
        visible = AllocationRequest.objects.visible_to(person(self.request))
        return visible.select_related("project__lab", "cluster", "created_by").prefetch_related("reviews")

    @extend_schema(request=NewRequestSerializer, responses={201: RequestSerializer})
    def create(self, request: Request) -> Response:
        body = NewRequestSerializer(data=request.data, context=self.get_serializer_context())
        body.is_valid(raise_exception=True)
        made = actions.request_hours(by=person(request), **body.validated_data)
        return Response(RequestSerializer(made).data, status=201)

    @extend_schema(request=NoBodySerializer, responses=RequestSerializer)
    @action(detail=True, methods=["post"], serializer_class=NoBodySerializer)
    def submit(self, request: Request, pk: str) -> Response:
        """Send a draft or a returned request to the centre."""
        return self._done(actions.submit_request, request)

    @extend_schema(request=NoBodySerializer, responses=RequestSerializer)
    @action(detail=True, methods=["post"], serializer_class=NoBodySerializer)
    def withdraw(self, request: Request, pk: str) -> Response:
        return self._done(actions.withdraw_request, request)

    @extend_schema(request=ApprovalSerializer, responses=RequestSerializer)
    @action(detail=True, methods=["post"], serializer_class=ApprovalSerializer)
    def approve(self, request: Request, pk: str) -> Response:
        """Grant `gpu_seconds`: what was asked, or fewer."""
        return self._done(actions.approve_request, request)

    @extend_schema(request=ReasonSerializer, responses=RequestSerializer)
    @action(detail=True, methods=["post"], url_path="return", serializer_class=ReasonSerializer)
    def return_for_changes(self, request: Request, pk: str) -> Response:
        return self._done(actions.return_request, request)

    @extend_schema(request=ReasonSerializer, responses=RequestSerializer)
    @action(detail=True, methods=["post"], serializer_class=ReasonSerializer)
    def reject(self, request: Request, pk: str) -> Response:
        return self._done(actions.reject_request, request)

    def _done(self, deed: Callable[..., Any], request: Request) -> Response:
        """Fetch within sight, check the body, call one action, answer with the request as it is now."""
        asked = self.get_object()
        context = self.get_serializer_context()
        body = self.get_serializer_class()(data=request.data, context={**context, "asked": asked})
        body.is_valid(raise_exception=True)
        try:
            deed(by=person(request), request=asked, **body.validated_data)
        except actions.Overtaken as overtaken:
            raise Conflict(str(overtaken)) from None
        return Response(RequestSerializer(self.get_object()).data)


# ── Usage ────────────────────────────────────────────────────────────────────


class UsageCellSerializer(serializers.Serializer[Any]):
    """GPU-seconds of one row of the report in one month."""

    institution = serializers.CharField(allow_null=True)
    account = serializers.CharField(
        allow_null=True, help_text="Where no project owns the account (staff only)."
    )
    kind = serializers.ChoiceField(
        choices=["institution", "few", "unassigned"],
        help_text="few: institutions with fewer than three active people",
    )
    month = serializers.RegexField(r"^\d{4}-\d{2}$")
    gpu_seconds = serializers.IntegerField()
    provisional_gpu_seconds = serializers.IntegerField(help_text="The part that may still change.")


class UsageSerializer(serializers.Serializer[Any]):
    first_month = serializers.CharField()
    last_month = serializers.CharField()
    as_of = serializers.DateTimeField()
    complete_until = serializers.DateTimeField(allow_null=True)
    awarded_gpu_seconds = serializers.IntegerField()
    used_gpu_seconds = serializers.IntegerField()
    rows = UsageCellSerializer(many=True)


class Usage(APIView):
    """GPU-seconds by institution and month: the programme's report."""

    @extend_schema(
        responses=UsageSerializer,
        parameters=[
            OpenApiParameter("from", str, description="First month, such as 2026-01."),
            OpenApiParameter("to", str, description="Last month. Without either, the last twelve months."),
        ],
    )
    def get(self, request: Request) -> Response:
        user, now = person(request), timezone.now()
        check_permission(user, Permission.SEE_PROGRAMME)
        check_known(request.query_params, {"from", "to", "format"})
        form = PeriodForm(request.query_params, today=now.date())
        if not form.is_valid():
            raise serializers.ValidationError(
                {name: [str(one) for one in errors] for name, errors in form.errors.items()}
            )
        programme = programmes.programme(programmes.scope_of(user), form.period, as_of=now)
        return Response(UsageSerializer(_usage(programme)).data)


def _usage(programme: programmes.Programme) -> dict[str, Any]:
    return {
        "first_month": str(programme.period.first),
        "last_month": str(programme.period.last),
        "as_of": programme.as_of,
        "complete_until": programme.complete_until,
        "awarded_gpu_seconds": programme.awarded,
        "used_gpu_seconds": programme.total.gpu_seconds,
        "rows": [
            {
                "institution": row.name if row.kind == "institution" else None,
                "account": row.name if row.kind == "unassigned" else None,
                "kind": row.kind,
                "month": str(month),
                "gpu_seconds": cell.gpu_seconds,
                "provisional_gpu_seconds": cell.provisional,
            }
            for row in programme.rows
            for month, cell in sorted(row.by_month.items())
        ],
    }


router = routers.SimpleRouter()
router.register("clusters", Clusters)
router.register("projects", Projects)
router.register("allocations", Allocations)
router.register("requests", Requests)
urlpatterns = [*router.urls, path("usage/", Usage.as_view(), name="usage")]
