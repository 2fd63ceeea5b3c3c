"""Clusters and partitions, for programs."""

from __future__ import annotations

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounting.models import Cluster, Fence, Partition
from portal.api import Endpoints, Pages, person
from portal.models import Project
from portal.permissions import Permission, check_permission


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


class FenceSerializer(serializers.ModelSerializer[Fence]):
    """A budget in the scheduler. Limits in whole GPU-minutes, as the scheduler counts them."""

    project = serializers.SlugRelatedField[Project](
        slug_field="slug", source="allocation.project", read_only=True
    )

    class Meta:
        model = Fence
        fields = (
            "qos",
            "project",
            "allocation",
            "intended_minutes",
            "seen_minutes",
            "used_minutes",
            "is_placed",
            "seen_at",
            "confirmed_at",
            "trouble",
        )


class Clusters(mixins.ListModelMixin, mixins.RetrieveModelMixin, Endpoints[Cluster]):
    """Clusters with their partitions. Everybody who is logged in may know them."""

    queryset = Cluster.objects.prefetch_related("partitions__factors")
    serializer_class = ClusterSerializer
    lookup_field = "name"
    lookup_value_regex = r"[-a-zA-Z0-9_]{1,40}"

    @extend_schema(responses=FenceSerializer(many=True))
    @action(detail=True, serializer_class=FenceSerializer)
    def fences(self, request: Request, name: str) -> Response:
        """The budgets in its scheduler: what each should be, and what the scheduler says. For the centre's staff."""
        check_permission(person(request), Permission.SEE_CLUSTERS)
        pages = Pages()
        rows = Fence.objects.on(self.get_object()).select_related("allocation__project").troubled_first()
        found = pages.paginate_queryset(rows, request, self)
        return pages.get_paginated_response(FenceSerializer(found, many=True).data)
