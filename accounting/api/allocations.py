"""Allocations and their ledger, for programs. Amounts are integer GPU-seconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounting import ledger
from accounting.actions import allocations as actions
from accounting.actions import corrections
from accounting.actions.caps import capped_people, set_caps
from accounting.models import (
    Allocation,
    AllocationState,
    Cluster,
    Correction,
    LedgerEntry,
    ProgressReport,
)
from accounting.reports import lives, spending
from accounting.units import MAX_GPU_SECONDS
from portal.api import Endpoints, NoBodySerializer, Pages, StrictSerializer, WholeNumber, person
from portal.models import Project
from portal.permissions import Permission, check_permission
from portal.reauthentication import check_confirmed

NUMBER = r"[0-9]{1,18}"


class BalanceSerializer(serializers.Serializer[ledger.Balance]):
    granted = serializers.IntegerField()
    used = serializers.IntegerField()
    held = serializers.IntegerField(help_text="Worst case of unfinished jobs.")
    balance = serializers.IntegerField(help_text="granted − expired − used")
    expired = serializers.IntegerField(help_text="Of what was granted: not used in time.")
    available = serializers.IntegerField(help_text="balance − held")


class AllocationSerializer(serializers.ModelSerializer[Allocation]):
    project = serializers.SlugRelatedField[Project](slug_field="slug", read_only=True)
    cluster = serializers.SlugRelatedField[Cluster](slug_field="name", read_only=True)
    state = serializers.SerializerMethodField()
    balance = serializers.SerializerMethodField()

    class Meta:
        model = Allocation
        fields = (
            "id",
            "project",
            "cluster",
            "start",
            "end",
            "usable_until",
            "state",
            "suspension_reason",
            "follows",
            "balance",
        )

    @extend_schema_field(serializers.ChoiceField(choices=AllocationState.choices))
    def get_state(self, allocation: Allocation) -> str:
        return allocation.state_on(timezone.now().date())

    @extend_schema(responses=BalanceSerializer)
    def get_balance(self, allocation: Allocation) -> dict[str, int]:
        balances: dict[int, ledger.Balance] = self.context["balances"]
        return self._balance.to_representation(balances[allocation.pk])

    @cached_property
    def _balance(self) -> BalanceSerializer:
        """One for all rows: making it takes longer than what it does for a row."""
        return BalanceSerializer()


class EntrySerializer(serializers.ModelSerializer[LedgerEntry]):
    job_id = serializers.CharField(
        source="usage_record.job_id", default=None, read_only=True, allow_null=True
    )
    balance_after = serializers.SerializerMethodField()

    class Meta:
        model = LedgerEntry
        fields = ("id", "at", "kind", "gpu_seconds", "balance_after", "job_id", "factor", "reason", "cites")

    def get_balance_after(self, entry: LedgerEntry) -> int:
        balances: dict[int, int] = self.context["after"]
        return balances[entry.pk]


class AllowanceSerializer(serializers.Serializer[Any]):
    """A person's cap, with what they used and hold."""

    person = serializers.IntegerField()
    name = serializers.CharField()
    gpu_seconds = serializers.IntegerField()
    used = serializers.IntegerField()
    held = serializers.IntegerField()


class CapSerializer(StrictSerializer):
    person = WholeNumber(min_value=1, max_value=2**63 - 1)
    gpu_seconds = WholeNumber(min_value=0, max_value=MAX_GPU_SECONDS, allow_null=True)


class CapsSerializer(StrictSerializer):
    """Who is not named keeps theirs; null takes a cap away."""

    caps = serializers.ListField(child=CapSerializer(), max_length=500)


class SuspensionSerializer(StrictSerializer):
    reason = serializers.CharField(max_length=500)


class AdjustSerializer(StrictSerializer):
    """`gpu_seconds`: so many more, or (below zero) fewer."""

    gpu_seconds = WholeNumber(min_value=-MAX_GPU_SECONDS, max_value=MAX_GPU_SECONDS)
    reason = serializers.CharField(max_length=500)

    def validate_gpu_seconds(self, gpu_seconds: int) -> int:
        if not gpu_seconds:
            raise serializers.ValidationError(_("Name an amount above or below zero."))
        return gpu_seconds


class AdjustedSerializer(serializers.Serializer[Any]):
    """Which of the two was written: the ledger's entry, or the correction that waits for a second person."""

    entry = serializers.IntegerField(allow_null=True)
    correction = serializers.IntegerField(allow_null=True)


class ReportSerializer(StrictSerializer):
    text = serializers.CharField(max_length=20_000)
    written_at = serializers.DateTimeField(read_only=True, allow_null=True)


class Allocations(Endpoints[Allocation]):
    """GPU-hours that were granted to the projects I may see, with their balance."""

    queryset = Allocation.objects.select_related("project", "cluster")
    serializer_class = AllocationSerializer
    lookup_value_regex = NUMBER

    def get_queryset(self) -> QuerySet[Allocation]:
        visible = Allocation.objects.visible_to(person(self.request))
        return visible.select_related("project__lab", "cluster")

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
        entries = pages.paginate_queryset(spending.entries(self.get_object()), request, self)
        after = {line.entry.pk: line.balance_after for line in spending.statement_lines(entries)}
        return pages.get_paginated_response(
            EntrySerializer(entries, many=True, context={"after": after}).data
        )

    @extend_schema(request=SuspensionSerializer, responses=AllocationSerializer)
    @action(detail=True, methods=["post"], serializer_class=SuspensionSerializer)
    def suspend(self, request: Request, pk: str) -> Response:
        """Refuse new jobs, with a reason. Those that were submitted go on."""
        return self._done(actions.suspend, request)

    @extend_schema(request=NoBodySerializer, responses=AllocationSerializer)
    @action(detail=True, methods=["post"], serializer_class=NoBodySerializer)
    def resume(self, request: Request, pk: str) -> Response:
        return self._done(actions.resume, request)

    @extend_schema(request=AdjustSerializer, responses=AdjustedSerializer)
    @action(detail=True, methods=["post"], serializer_class=AdjustSerializer)
    def adjust(self, request: Request, pk: str) -> Response:
        """Correct the balance by hand. Above the cluster's threshold it waits for a second person."""
        allocation = self.get_object()
        check_permission(person(request), Permission.ADJUST_HOURS)
        check_confirmed(request._request)
        body = AdjustSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        written = corrections.adjust(by=person(request), allocation=allocation, **body.validated_data)
        waits = isinstance(written, Correction)
        return Response({"entry": None if waits else written.pk, "correction": written.pk if waits else None})

    @extend_schema(responses=AllowanceSerializer(many=True))
    @action(detail=True, serializer_class=AllowanceSerializer)
    def caps(self, request: Request, pk: str) -> Response:
        """The most that each person may use."""
        return Response(_allowances(self.get_object()))

    @extend_schema(request=CapsSerializer, responses=AllowanceSerializer(many=True))
    @caps.mapping.put
    def set_caps(self, request: Request, pk: str) -> Response:
        allocation = self.get_object()
        body = CapsSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        wanted = {cap["person"]: cap["gpu_seconds"] for cap in body.validated_data["caps"]}
        people = list(capped_people(allocation).filter(pk__in=wanted))
        if len(people) < len(wanted):
            raise serializers.ValidationError({"caps": [_("Somebody named here does not work in this lab.")]})
        set_caps(by=person(request), allocation=allocation, caps={one: wanted[one.pk] for one in people})
        return Response(_allowances(allocation))

    @extend_schema(responses=ReportSerializer)
    @action(detail=True, serializer_class=ReportSerializer)
    def report(self, request: Request, pk: str) -> Response:
        """What its PI told of the work; empty while it is not written."""
        written = ProgressReport.objects.filter(allocation=self.get_object()).first()
        return Response(ReportSerializer(written or {"text": "", "written_at": None}).data)

    @extend_schema(request=ReportSerializer, responses=ReportSerializer)
    @report.mapping.put
    def write_report(self, request: Request, pk: str) -> Response:
        allocation = self.get_object()
        body = ReportSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        report = actions.write_report(by=person(request), allocation=allocation, **body.validated_data)
        return Response(ReportSerializer(report).data)

    def _done(self, deed: Callable[..., Any], request: Request) -> Response:
        allocation = self.get_object()
        body = self.get_serializer_class()(data=request.data)
        body.is_valid(raise_exception=True)
        deed(by=person(request), allocation=allocation, **body.validated_data)
        return Response(self._with_balance([self.get_object()])[0])

    def _with_balance(self, allocations: Sequence[Allocation]) -> Any:
        context = {"balances": ledger.balances(allocations)}
        return AllocationSerializer(allocations, many=True, context=context).data


def _allowances(allocation: Allocation) -> list[dict[str, Any]]:
    return [
        {
            "person": cap.user_id,
            "name": cap.user.name,
            "gpu_seconds": allowance.cap,
            "used": allowance.used,
            "held": allowance.held,
        }
        for cap, allowance in lives.allowances(allocation)
    ]
