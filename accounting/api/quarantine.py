"""Records that could not be read, for the centre's programs."""

from __future__ import annotations

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounting.actions.quarantine import look_at_record
from accounting.models import Cluster, QuarantinedRecord
from portal.api import Endpoints, StrictSerializer, person
from portal.permissions import Permission, check_permission


class QuarantinedSerializer(serializers.ModelSerializer[QuarantinedRecord]):
    """`looked_at` null: nobody has looked at it yet."""

    cluster = serializers.SlugRelatedField[Cluster](slug_field="name", read_only=True)
    looked_by = serializers.CharField(source="looked_by.name", default=None, read_only=True)

    class Meta:
        model = QuarantinedRecord
        fields = ("id", "cluster", "text", "reason", "first_seen_at", "looked_at", "looked_by", "note")


class NoteSerializer(StrictSerializer):
    note = serializers.CharField(max_length=500)


class Quarantine(mixins.ListModelMixin, Endpoints[QuarantinedRecord]):
    """What could not be read, the newest first. Nothing of it is counted."""

    queryset = QuarantinedRecord.objects.all()
    serializer_class = QuarantinedSerializer
    lookup_value_regex = r"[0-9]{1,18}"

    def get_queryset(self) -> QuerySet[QuarantinedRecord]:
        check_permission(person(self.request), Permission.SEE_CLUSTERS)
        return QuarantinedRecord.objects.select_related("cluster", "looked_by")

    @extend_schema(request=NoteSerializer, responses=QuarantinedSerializer)
    @action(detail=True, methods=["post"])
    def look(self, request: Request, pk: str) -> Response:
        """Say that you looked at it, and what it was."""
        record = self.get_object()
        check_permission(person(request), Permission.KEEP_COLLECTING)
        body = NoteSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        look_at_record(by=person(request), quarantined=record, **body.validated_data)
        return Response(QuarantinedSerializer(record).data)
