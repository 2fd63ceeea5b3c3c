"""What the centre's programs ask and do to keep the road to the clusters open. The same actions as the pages'."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import exceptions, mixins, serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounting.models import Cluster, Maintenance
from jobs import hops, upkeep
from jobs.actions import Refused
from jobs.api.jobs import NUMBER, JobSerializer
from jobs.models import Job
from jobs.signs import LoginNodeSign
from portal.api import Endpoints, NoBodySerializer, StrictSerializer, person
from portal.permissions import Permission, check_permission
from portal.reauthentication import check_confirmed


class HopSerializer(serializers.Serializer[hops.Hop]):
    """`state`: ok, wait (not known), warn, bad, off. `since`: in this state, or last seen well."""

    part = serializers.CharField(source="key")
    name = serializers.CharField()
    state = serializers.CharField(source="tone")
    said = serializers.CharField()
    todo = serializers.CharField()
    since = serializers.DateTimeField(allow_null=True)


class RoadSerializer(serializers.Serializer[hops.Road]):
    """`cluster`: null for what all clusters share."""

    cluster = serializers.CharField(source="cluster.name", default=None, allow_null=True)
    parts = HopSerializer(source="hops", many=True)


class Health(APIView):
    """Each part of the road to the clusters, in order: which is broken, since when, and what to do."""

    @extend_schema(responses=RoadSerializer(many=True))
    def get(self, request: Request) -> Response:
        check_permission(person(request), Permission.SEE_CLUSTERS)
        return Response([RoadSerializer(road).data for road in hops.roads()])


class LoginNodes(Endpoints[LoginNodeSign]):
    """Login nodes, by the ids that `health` has as node-ID."""

    queryset = LoginNodeSign.objects.select_related("cluster")
    serializer_class: Any = NoBodySerializer
    lookup_value_regex = NUMBER

    @extend_schema(request=NoBodySerializer, responses={204: None})
    @action(detail=True, methods=["post"])
    def trust(self, request: Request, pk: str) -> Response:
        """Try it again after its host key had changed; only the pinned key lets the portal log in."""
        check_permission(person(request), Permission.KEEP_CLUSTERS)
        check_confirmed(request._request)
        sign = self.get_object()
        NoBodySerializer(data=request.data).is_valid(raise_exception=True)
        upkeep.trust_node(by=person(request), sign=sign)
        return Response(status=204)


class MaintenanceSerializer(serializers.ModelSerializer[Maintenance]):
    cluster = serializers.SlugRelatedField[Cluster](slug_field="name", read_only=True)

    class Meta:
        model = Maintenance
        fields = ("id", "cluster", "begins_at", "until", "sentence", "set_at", "ended_at")


class NewMaintenanceSerializer(StrictSerializer):
    begins_at = serializers.DateTimeField()
    until = serializers.DateTimeField()
    sentence = serializers.CharField(max_length=300)


class ClusterMaintenances(Endpoints[Cluster]):
    """Maintenance of a cluster: jobs are taken and kept, nothing is sent to it or asked of it."""

    queryset = Cluster.objects.all()
    serializer_class: Any = MaintenanceSerializer
    lookup_field = "name"
    lookup_value_regex = r"[-a-zA-Z0-9_]{1,40}"

    def get_queryset(self) -> QuerySet[Cluster]:
        check_permission(person(self.request), Permission.KEEP_CLUSTERS)
        return Cluster.objects.all()

    @extend_schema(responses=MaintenanceSerializer(many=True))
    @action(detail=True, methods=["get"], url_path="maintenance")
    def listed(self, request: Request, name: str) -> Response:
        rows: Any = self.get_object().maintenances.select_related("cluster")
        page: Any = self.paginate_queryset(rows) or []
        return self.get_paginated_response(MaintenanceSerializer(page, many=True).data)

    @extend_schema(request=NewMaintenanceSerializer, responses={201: MaintenanceSerializer})
    @listed.mapping.post
    def set(self, request: Request, name: str) -> Response:
        cluster = self.get_object()
        check_confirmed(request._request)
        body = NewMaintenanceSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        try:
            made = upkeep.set_maintenance(by=person(request), cluster=cluster, **body.validated_data)
        except Refused as refused:
            raise exceptions.ValidationError({refused.field: [refused.message]}) from None
        return Response(MaintenanceSerializer(made).data, status=201)


class Maintenances(Endpoints[Maintenance]):
    queryset = Maintenance.objects.select_related("cluster")
    serializer_class: Any = MaintenanceSerializer
    lookup_value_regex = NUMBER

    @extend_schema(request=NoBodySerializer, responses=MaintenanceSerializer)
    @action(detail=True, methods=["post"])
    def end(self, request: Request, pk: str) -> Response:
        """Now, or before it begins."""
        check_permission(person(request), Permission.KEEP_CLUSTERS)
        check_confirmed(request._request)
        one = self.get_object()
        NoBodySerializer(data=request.data).is_valid(raise_exception=True)
        upkeep.end_maintenance(by=person(request), maintenance=one)
        return Response(MaintenanceSerializer(self.get_object()).data)


class GiveUpSerializer(StrictSerializer):
    reason = serializers.CharField(max_length=300)


class Unsent(mixins.ListModelMixin, Endpoints[Job]):
    """Jobs that could not be sent so often that the portal has stopped trying."""

    queryset = Job.objects.all()
    serializer_class: Any = JobSerializer
    lookup_value_regex = NUMBER

    def get_queryset(self) -> QuerySet[Job]:
        check_permission(person(self.request), Permission.KEEP_CLUSTERS)
        return (
            Job.objects.set_aside()
            .select_related("owner", "project__lab", "cluster", "partition")
            .order_by("pk")
        )

    @extend_schema(request=NoBodySerializer, responses={204: None})
    @action(detail=True, methods=["post"], url_path="send-again")
    def send_again(self, request: Request, pk: str) -> Response:
        job = self.get_object()
        NoBodySerializer(data=request.data).is_valid(raise_exception=True)
        upkeep.send_again(by=person(request), job=job)
        return Response(status=204)

    @extend_schema(request=GiveUpSerializer, responses={204: None})
    @action(detail=True, methods=["post"], url_path="give-up", serializer_class=GiveUpSerializer)
    def give_up(self, request: Request, pk: str) -> Response:
        """It has failed; its hours are free again, and its owner gets a mail with the reason."""
        job = self.get_object()
        check_confirmed(request._request)
        body = GiveUpSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        upkeep.give_up(by=person(request), job=job, reason=body.validated_data["reason"])
        return Response(status=204)
