"""The rules of each cluster, for the centre's programs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounting.actions.policies import set_policy
from accounting.actions.prices import InThePast, set_factor
from accounting.forms.fields import check_soon
from accounting.models import ChargeFactor, Cluster, Partition, Policy, policy_of
from accounting.units import MAX_GPU_SECONDS
from portal.api import Endpoints, Pages, Slug, StrictSerializer, WholeNumber, person
from portal.permissions import Permission, check_permission
from portal.reauthentication import check_confirmed

RULES = (
    "grant_at_once_up_to",
    "two_approvers_above",
    "second_person_above",
    "grace_days",
    "carry_over_percent",
    "checkpoint_percent",
    "checkpoint_used_percent",
    "report_before_renewal",
    "close_months_after_days",
)


class PolicySerializer(serializers.ModelSerializer[Policy]):
    """Amounts in GPU-seconds. Null: for the numbers of approvers, where one is enough; for closing, by hand alone."""

    cluster = serializers.SlugRelatedField[Cluster](slug_field="name", read_only=True)

    class Meta:
        model = Policy
        fields = ("cluster", *RULES)


class RulesSerializer(StrictSerializer):
    """The rules to set; what is not named stays as it is."""

    grant_at_once_up_to = WholeNumber(min_value=0, max_value=MAX_GPU_SECONDS, required=False)
    two_approvers_above = WholeNumber(min_value=0, max_value=MAX_GPU_SECONDS, required=False, allow_null=True)
    second_person_above = WholeNumber(min_value=0, max_value=MAX_GPU_SECONDS, required=False, allow_null=True)
    grace_days = WholeNumber(min_value=0, max_value=366, required=False)
    carry_over_percent = WholeNumber(min_value=0, max_value=100, required=False)
    checkpoint_percent = WholeNumber(min_value=0, max_value=100, required=False)
    checkpoint_used_percent = WholeNumber(min_value=0, max_value=100, required=False)
    report_before_renewal = serializers.BooleanField(required=False)
    close_months_after_days = WholeNumber(min_value=0, max_value=366, required=False, allow_null=True)


class PriceSerializer(serializers.ModelSerializer[ChargeFactor]):
    """From `valid_from` on, so many GPU-seconds are charged for one of a run that starts then."""

    partition = serializers.SlugRelatedField[Partition](slug_field="name", read_only=True)

    class Meta:
        model = ChargeFactor
        fields = ("partition", "factor", "valid_from")


class NewPriceSerializer(StrictSerializer):
    partition = Slug[Partition](slug_field="name", queryset=Partition.objects.none())
    factor = serializers.DecimalField(max_digits=8, decimal_places=4, min_value=0)
    valid_from = serializers.DateTimeField()

    def get_fields(self) -> dict[str, Any]:
        fields = super().get_fields()
        cluster = self.context.get("cluster")
        if cluster is not None:
            fields["partition"] = Slug[Partition](slug_field="name", queryset=cluster.partitions.all())
        return fields

    def validate_valid_from(self, moment: datetime) -> datetime:
        check_soon(moment.date())
        return moment


class Policies(mixins.ListModelMixin, mixins.RetrieveModelMixin, Endpoints[Cluster]):
    """Each cluster's rules, by the cluster's name; the usual ones where none are set."""

    queryset = Cluster.objects.select_related("policy")
    serializer_class: Any = PolicySerializer  # of the policy of each cluster
    lookup_field = "name"
    lookup_value_regex = r"[-a-zA-Z0-9_]{1,40}"

    def get_queryset(self) -> QuerySet[Cluster]:
        check_permission(person(self.request), Permission.DECIDE_REQUEST)
        return Cluster.objects.select_related("policy")

    @extend_schema(responses=PolicySerializer(many=True))
    def list(self, request: Request) -> Response:
        page = self.paginate_queryset(self.get_queryset()) or []
        rules = [getattr(cluster, "policy", None) or Policy(cluster=cluster) for cluster in page]
        return self.get_paginated_response(PolicySerializer(rules, many=True).data)

    @extend_schema(responses=PolicySerializer)
    def retrieve(self, request: Request, name: str) -> Response:
        return Response(PolicySerializer(policy_of(self.get_object())).data)

    @extend_schema(request=RulesSerializer, responses=PolicySerializer)
    @action(detail=True, methods=["post"], url_path="set", serializer_class=RulesSerializer)
    def set_rules(self, request: Request, name: str) -> Response:
        cluster = self.get_object()
        check_permission(person(request), Permission.SET_POLICY)
        body = RulesSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        policy: Any = set_policy(by=person(request), cluster=cluster, **body.validated_data)
        return Response(PolicySerializer(policy).data)

    @extend_schema(responses=PriceSerializer(many=True))
    @action(detail=True, serializer_class=PriceSerializer)
    def prices(self, request: Request, name: str) -> Response:
        """Every price of the cluster's partitions, the newest first."""
        pages = Pages()
        rows = ChargeFactor.objects.filter(partition__cluster=self.get_object()).select_related("partition")
        page = pages.paginate_queryset(rows.order_by("-valid_from", "partition__name"), request, self)
        return pages.get_paginated_response(PriceSerializer(page, many=True).data)

    @extend_schema(request=NewPriceSerializer, responses={201: PriceSerializer})
    @prices.mapping.post
    def set_price(self, request: Request, name: str) -> Response:
        """A new price from a moment to come; what has run keeps its own."""
        cluster = self.get_object()
        check_permission(person(request), Permission.SET_PRICES)
        check_confirmed(request._request)
        context = {**self.get_serializer_context(), "cluster": cluster}
        body = NewPriceSerializer(data=request.data, context=context)
        body.is_valid(raise_exception=True)
        try:
            price = set_factor(by=person(request), **body.validated_data)
        except InThePast as past:
            raise serializers.ValidationError({"valid_from": [str(past)]}) from None
        return Response(PriceSerializer(price).data, status=201)
