"""Refunds, corrections by two, and what does not add up, for the centre's programs. Amounts are GPU-seconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounting.actions import corrections, refunds
from accounting.models import BalanceDifference, Correction, RefundProposal
from portal.api import Endpoints, StrictSerializer, person
from portal.permissions import Permission, check_permission
from portal.reauthentication import check_confirmed

NUMBER = r"[0-9]{1,18}"


class RefundSerializer(serializers.ModelSerializer[RefundProposal]):
    """`gpu_seconds`: what the run was charged, and so what would be given back."""

    job_id = serializers.CharField(source="usage_record.job_id", read_only=True)
    project = serializers.SlugField(source="allocation.project.slug", read_only=True)

    class Meta:
        model = RefundProposal
        fields = (
            "id",
            "state",
            "job_id",
            "project",
            "allocation",
            "gpu_seconds",
            "proposed_at",
            "decided_at",
            "reason",
        )


class CorrectionSerializer(serializers.ModelSerializer[Correction]):
    project = serializers.SlugField(source="allocation.project.slug", read_only=True)

    class Meta:
        model = Correction
        fields = (
            "id",
            "state",
            "project",
            "allocation",
            "gpu_seconds",
            "reason",
            "proposed_by",
            "proposed_at",
            "decided_by",
            "decided_at",
            "comment",
        )


class DifferenceSerializer(serializers.ModelSerializer[BalanceDifference]):
    class Meta:
        model = BalanceDifference
        fields = (
            "id",
            "kind",
            "subject",
            "allocation",
            "expected",
            "found",
            "first_seen_at",
            "last_seen_at",
            "cleared_at",
            "cause",
        )


class AgreeSerializer(StrictSerializer):
    comment = serializers.CharField(max_length=500, required=False, allow_blank=True)


class DisagreeSerializer(StrictSerializer):
    comment = serializers.CharField(max_length=500)


class GiveBackSerializer(StrictSerializer):
    reason = serializers.CharField(max_length=500, required=False, allow_blank=True)


class KeepSerializer(StrictSerializer):
    reason = serializers.CharField(max_length=500)


class Refunds(mixins.ListModelMixin, mixins.RetrieveModelMixin, Endpoints[RefundProposal]):
    """Runs that a failing node ended, with what they were charged; those that wait for an answer first."""

    queryset = RefundProposal.objects.select_related("usage_record", "allocation__project")
    serializer_class: Any = RefundSerializer
    lookup_value_regex = NUMBER

    def get_queryset(self) -> QuerySet[RefundProposal]:
        check_permission(person(self.request), Permission.DECIDE_REFUND)
        rows = RefundProposal.objects.select_related(
            "usage_record", "allocation__project__lab", "allocation__cluster"
        )
        return rows.order_by("-state", "proposed_at", "pk")

    @extend_schema(request=GiveBackSerializer, responses=RefundSerializer)
    @action(detail=True, methods=["post"], serializer_class=GiveBackSerializer)
    def approve(self, request: Request, pk: str) -> Response:
        """Give the hours back."""
        return _done(self, refunds.approve, request, "proposal", RefundSerializer)

    @extend_schema(request=KeepSerializer, responses=RefundSerializer)
    @action(detail=True, methods=["post"], serializer_class=KeepSerializer)
    def decline(self, request: Request, pk: str) -> Response:
        return _done(self, refunds.decline, request, "proposal", RefundSerializer)


class Corrections(mixins.ListModelMixin, mixins.RetrieveModelMixin, Endpoints[Correction]):
    """Corrections of balances above a cluster's threshold: they wait for a second person."""

    queryset = Correction.objects.select_related("allocation__project")
    serializer_class: Any = CorrectionSerializer
    lookup_value_regex = NUMBER

    def get_queryset(self) -> QuerySet[Correction]:
        check_permission(person(self.request), Permission.AGREE_TO_CORRECTION)
        return Correction.objects.select_related(
            "allocation__project__lab", "allocation__cluster", "proposed_by"
        )

    @extend_schema(request=AgreeSerializer, responses=CorrectionSerializer)
    @action(detail=True, methods=["post"], serializer_class=AgreeSerializer)
    def approve(self, request: Request, pk: str) -> Response:
        """Agree, as somebody else than who proposed it: the balance is corrected."""
        return _done(self, corrections.approve, request, "correction", CorrectionSerializer)

    @extend_schema(request=DisagreeSerializer, responses=CorrectionSerializer)
    @action(detail=True, methods=["post"], serializer_class=DisagreeSerializer)
    def decline(self, request: Request, pk: str) -> Response:
        """Say no, or take back one's own."""
        return _done(self, corrections.decline, request, "correction", CorrectionSerializer)


class Differences(mixins.ListModelMixin, Endpoints[BalanceDifference]):
    """What the nightly check found not to follow from the facts; open ones first."""

    queryset = BalanceDifference.objects.all()
    serializer_class = DifferenceSerializer

    def get_queryset(self) -> QuerySet[BalanceDifference]:
        check_permission(person(self.request), Permission.SEE_CLUSTERS)
        return BalanceDifference.objects.all()


def _done(view: Any, deed: Callable[..., Any], request: Request, name: str, answer: Any) -> Response:
    """Fetch within sight, check the body, call one action, answer with the thing as it is now."""
    thing = view.get_object()
    check_confirmed(request._request)
    body = view.get_serializer_class()(data=request.data)
    body.is_valid(raise_exception=True)
    deed(by=person(request), **{name: thing}, **body.validated_data)
    return Response(answer(view.get_object()).data)
