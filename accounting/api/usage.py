"""The programme's report, for programs. Amounts are integer GPU-seconds; months are UTC."""

from __future__ import annotations

from typing import Any, get_args

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounting.forms.reports import PeriodForm
from accounting.reports import programmes
from accounting.reports.programmes import Kind
from portal.api import check_known, person
from portal.permissions import Permission, check_permission

ROW_KINDS = [(kind, kind) for kind in get_args(Kind)]


class UsageCellSerializer(serializers.Serializer[Any]):
    """GPU-seconds of one row of the report in one month."""

    institution = serializers.CharField(allow_null=True)
    account = serializers.CharField(
        allow_null=True, help_text="Where no project owns the account (staff only)."
    )
    kind = serializers.ChoiceField(
        choices=ROW_KINDS,
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
    not_measured = serializers.ListField(
        child=serializers.CharField(),
        help_text="Clusters whose usage the portal can't read: they are left out, not zero.",
    )
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
        "not_measured": list(programme.not_measured),
        "awarded_gpu_seconds": programme.awarded,
        "used_gpu_seconds": programme.usage.total.gpu_seconds,
        "rows": [
            {
                "institution": row.name if row.kind == "institution" else None,
                "account": row.name if row.kind == "unassigned" else None,
                "kind": row.kind,
                "month": str(month),
                "gpu_seconds": cell.gpu_seconds,
                "provisional_gpu_seconds": cell.provisional,
            }
            for row in programme.usage.rows
            for month, cell in sorted(row.by_month.items())
        ],
    }
