"""Corrections of closed months, for programs. Amounts are integer GPU-seconds; months are UTC."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounting.api.usage import ROW_KINDS
from accounting.forms.reports import PeriodForm
from accounting.reports.corrections import Corrections, corrections_in
from accounting.reports.programmes import scope_of
from portal.api import check_known, person
from portal.permissions import Permission, check_permission


class UsageCorrectionSerializer(serializers.Serializer[Any]):
    """GPU-seconds entered in one month about another, which was closed. Below zero: less was used."""

    dated = serializers.RegexField(r"^\d{4}-\d{2}$", help_text="The month in which it counts.")
    month = serializers.RegexField(r"^\d{4}-\d{2}$", help_text="The closed month that it is about.")
    kind = serializers.ChoiceField(choices=ROW_KINDS)
    institution = serializers.CharField(allow_null=True)
    account = serializers.CharField(
        allow_null=True, help_text="Where no project owns the account (staff only)."
    )
    gpu_seconds = serializers.IntegerField()
    weighted_gpu_seconds = serializers.IntegerField()


class UsageCorrectionsSerializer(serializers.Serializer[Any]):
    first_month = serializers.CharField()
    last_month = serializers.CharField()
    as_of = serializers.DateTimeField()
    gpu_seconds = serializers.IntegerField(help_text="Of all rows.")
    rows = UsageCorrectionSerializer(many=True)


class CorrectionsReport(APIView):
    """What became known of closed months, by the month in which it was entered."""

    @extend_schema(
        responses=UsageCorrectionsSerializer,
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
        found = corrections_in(scope_of(user), form.period, as_of=now)
        return Response(UsageCorrectionsSerializer(_told(found)).data)


def _told(found: Corrections) -> dict[str, Any]:
    return {
        "first_month": str(found.period.first),
        "last_month": str(found.period.last),
        "as_of": found.as_of,
        "gpu_seconds": found.gpu_seconds,
        "rows": [
            {
                "dated": str(row.dated),
                "month": str(row.month),
                "kind": row.kind,
                "institution": row.name if row.kind == "institution" else None,
                "account": row.name if row.kind == "unassigned" else None,
                "gpu_seconds": row.gpu_seconds,
                "weighted_gpu_seconds": row.weighted_gpu_seconds,
            }
            for row in found.rows
        ],
    }
