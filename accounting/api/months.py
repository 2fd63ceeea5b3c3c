"""A cluster's closed months, for the centre's programs. Amounts are GPU-seconds; months are UTC."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounting import months
from accounting.actions.months import close_month
from accounting.models import ClosedMonth, Cluster
from accounting.periods import Month, parse_month
from portal.api import Conflict, Endpoints, StrictSerializer, person
from portal.permissions import Permission, check_permission
from portal.reauthentication import check_confirmed
from portal.transitions import Overtaken


class ClosedMonthSerializer(serializers.ModelSerializer[ClosedMonth]):
    month = serializers.DateField(format="%Y-%m", read_only=True)
    closed_by = serializers.CharField(
        source="closed_by.name", default=None, read_only=True, help_text="null: by the cluster's policy"
    )

    class Meta:
        model = ClosedMonth
        fields = ("month", "gpu_seconds", "read_at", "closed_at", "closed_by")


class CloseSerializer(StrictSerializer):
    month = serializers.CharField(max_length=20, help_text="Such as 2026-10.")

    def validate_month(self, text: str) -> Month:
        try:
            return parse_month(text)
        except ValueError:
            raise serializers.ValidationError(_("Give a month as year-month: 2026-03.")) from None


class ClusterMonths(Endpoints[Cluster]):
    """Which months of a cluster are final, and closing one."""

    queryset = Cluster.objects.all()
    serializer_class: Any = ClosedMonthSerializer  # of each month
    lookup_field = "name"
    lookup_value_regex = r"[-a-zA-Z0-9_]{1,40}"

    def get_queryset(self) -> QuerySet[Cluster]:
        check_permission(person(self.request), Permission.SEE_CLUSTERS)
        return Cluster.objects.all()

    @extend_schema(responses=ClosedMonthSerializer(many=True))
    @action(detail=True, methods=["get"], url_path="months")
    def closed(self, request: Request, name: str) -> Response:
        rows: Any = self.get_object().closed_months.select_related("closed_by")
        page: Any = self.paginate_queryset(rows) or []
        return self.get_paginated_response(ClosedMonthSerializer(page, many=True).data)

    @extend_schema(request=CloseSerializer, responses=ClosedMonthSerializer)
    @action(detail=True, methods=["post"], url_path="months/close", serializer_class=CloseSerializer)
    def close(self, request: Request, name: str) -> Response:
        """For ever. 409 with the reason, where it can't be closed yet."""
        cluster, user = self.get_object(), person(request)
        check_permission(user, Permission.CLOSE_MONTHS)
        check_confirmed(request._request)
        body = CloseSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        try:
            made = close_month(by=user, cluster=cluster, month=body.validated_data["month"])
        except (months.NotYet, Overtaken) as why_not:
            raise Conflict(str(why_not)) from None
        return Response(ClosedMonthSerializer(made).data)
