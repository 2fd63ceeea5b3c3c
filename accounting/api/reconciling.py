"""Our sums held against the scheduler's own, for the centre's programs."""

from __future__ import annotations

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounting.actions import reconciling as actions
from accounting.api.asking import NUMBER
from accounting.models import Cluster, Discrepancy, Outcome, Reconciliation
from portal.api import Endpoints, StrictSerializer, person
from portal.models import User
from portal.permissions import Permission, check_permission


class DiscrepancySerializer(serializers.ModelSerializer[Discrepancy]):
    """GPU-seconds of the account's own jobs on a UTC day, ours and the scheduler's."""

    cluster = serializers.SlugRelatedField[Cluster](slug_field="name", read_only=True)
    explained_by = serializers.SlugRelatedField[User](slug_field="email", read_only=True)

    class Meta:
        model = Discrepancy
        fields = (
            *("id", "cluster", "day", "account", "ours", "theirs", "state", "cause"),
            *("explanation", "explained_by", "opened_at"),
        )


class ReconciliationSerializer(serializers.ModelSerializer[Reconciliation]):
    """A UTC day, all accounts. Null figures: it could not be compared, and `trouble` says why."""

    cluster = serializers.SlugRelatedField[Cluster](slug_field="name", read_only=True)
    outcome = serializers.ChoiceField(choices=Outcome.choices, read_only=True)

    class Meta:
        model = Reconciliation
        fields = (
            *("cluster", "day", "checked_at", "ours", "theirs", "until", "zone_minutes"),
            *("trouble", "outcome"),
        )


class ExplanationSerializer(StrictSerializer):
    explanation = serializers.CharField(max_length=500)


class DiscrepancyQuerySerializer(serializers.Serializer[Discrepancy]):
    state = serializers.ChoiceField(choices=Discrepancy.State.choices, required=False)
    cluster = serializers.CharField(max_length=40, required=False)
    account = serializers.CharField(max_length=100, required=False)


@extend_schema_view(
    list=extend_schema(
        parameters=[
            OpenApiParameter("state", str, enum=Discrepancy.State.values),
            OpenApiParameter("cluster", str, description="The cluster's name."),
            OpenApiParameter("account", str, description="The whole name of the account."),
        ]
    )
)
class Discrepancies(mixins.ListModelMixin, mixins.RetrieveModelMixin, Endpoints[Discrepancy]):
    """Accounts' days on which our sum and the scheduler's differ."""

    queryset = Discrepancy.objects.select_related("cluster", "explained_by")
    serializer_class = DiscrepancySerializer
    lookup_value_regex = NUMBER
    parameters = frozenset({"state", "cluster", "account"})

    def get_queryset(self) -> QuerySet[Discrepancy]:
        check_permission(person(self.request), Permission.SEE_CLUSTERS)
        query = DiscrepancyQuerySerializer(data=self.request.query_params)
        query.is_valid(raise_exception=True)
        names = {"state": "state", "cluster": "cluster__name", "account": "account"}
        wanted = {names[name]: value for name, value in query.validated_data.items()}
        return Discrepancy.objects.filter(**wanted).select_related("cluster", "explained_by")

    @extend_schema(request=ExplanationSerializer, responses=DiscrepancySerializer)
    @action(detail=True, methods=["post"], serializer_class=ExplanationSerializer)
    def explain(self, request: Request, pk: str) -> Response:
        """Say why the figures differ. It holds as long as they stay as they are."""
        discrepancy = self.get_object()
        body = ExplanationSerializer(data=request.data, context=self.get_serializer_context())
        body.is_valid(raise_exception=True)
        actions.explain(by=person(request), discrepancy=discrepancy, **body.validated_data)
        return Response(DiscrepancySerializer(discrepancy).data)


class Reconciliations(mixins.ListModelMixin, Endpoints[Reconciliation]):
    """Every day as it was last held against the scheduler's books, the latest first."""

    queryset = Reconciliation.objects.select_related("cluster")
    serializer_class = ReconciliationSerializer

    def get_queryset(self) -> QuerySet[Reconciliation]:
        check_permission(person(self.request), Permission.SEE_CLUSTERS)
        return Reconciliation.objects.with_counts().select_related("cluster")
