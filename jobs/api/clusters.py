"""What is read of a cluster's accounting, for the centre's programs."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounting.models import Cluster, CollectionWindow
from jobs import actions
from portal.api import Endpoints, StrictSerializer, person
from portal.permissions import Permission, check_permission


class FindingSerializer(serializers.Serializer[Any]):
    check = serializers.CharField()
    ok = serializers.BooleanField()
    seen = serializers.CharField(help_text="What the scheduler said.")


class WindowSerializer(serializers.ModelSerializer[CollectionWindow]):
    """`since` and `until`: of the last window that was read to its end. `trouble`: of the last try; empty: none."""

    class Meta:
        model = CollectionWindow
        fields = ("kind", "since", "until", "succeeded_at", "records", "tried_at", "trouble")


class CollectingSerializer(serializers.Serializer[Any]):
    """`measured`: null, as long as nobody knows; only where it is true are records read."""

    measured = serializers.BooleanField(allow_null=True)
    checked_at = serializers.DateTimeField(allow_null=True)
    trouble = serializers.CharField()
    findings = FindingSerializer(many=True)
    complete_until = serializers.DateTimeField(allow_null=True, help_text="The poll's watermark.")
    windows = WindowSerializer(many=True)


class NothingSerializer(StrictSerializer):
    """No body."""


class ClusterCollecting(Endpoints[Cluster]):
    """How far a cluster's accounting was read, and whether it can be relied on."""

    queryset = Cluster.objects.all()
    serializer_class: Any = CollectingSerializer
    lookup_field = "name"
    lookup_value_regex = r"[-a-zA-Z0-9_]{1,40}"

    def get_queryset(self) -> QuerySet[Cluster]:
        check_permission(person(self.request), Permission.SEE_CLUSTERS)
        return Cluster.objects.select_related("capability", "collection").prefetch_related("windows")

    @extend_schema(responses=CollectingSerializer)
    @action(detail=True, methods=["get"])
    def collecting(self, request: Request, name: str) -> Response:
        return Response(_told(self.get_object()))

    @extend_schema(request=NothingSerializer, responses=CollectingSerializer)
    @action(detail=True, methods=["post"], serializer_class=NothingSerializer)
    def check(self, request: Request, name: str) -> Response:
        """Have it looked at again, whether its usage can be measured. The answer is the last one; the new one follows."""
        cluster = self.get_object()
        check_permission(person(request), Permission.KEEP_COLLECTING)
        NothingSerializer(data=request.data).is_valid(raise_exception=True)
        actions.ask_for_check(by=person(request), cluster=cluster)
        return Response(_told(cluster))


def _told(cluster: Cluster) -> Any:
    known = getattr(cluster, "capability", None)
    collection = getattr(cluster, "collection", None)
    return CollectingSerializer(
        {
            "measured": known.measured if known else None,
            "checked_at": known.checked_at if known else None,
            "trouble": known.trouble if known else "",
            "findings": known.findings if known else [],
            "complete_until": collection.complete_until if collection else None,
            "windows": cluster.windows.all(),
        }
    ).data
