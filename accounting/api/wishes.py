"""What a request says, for programs: as it is told, and as it is asked for. Amounts are integer GPU-seconds."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.utils.functional import cached_property
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounting.actions import reviews
from accounting.actions.requests import Line
from accounting.api.projects import VisibleProject
from accounting.forms.fields import check_soon, check_start
from accounting.forms.transfers import check_left, receiver
from accounting.models import (
    Allocation,
    AllocationRequest,
    Attachment,
    Call,
    Cluster,
    Partition,
    RequestLine,
    Review,
)
from accounting.reports.decisions import AMONG_THE_CENTRE
from accounting.units import MAX_GPU_SECONDS
from portal.api import Slug, StrictSerializer, WholeNumber, person
from portal.models import Project

Kind = AllocationRequest.Kind
MAX_ID, MAX_LINES = 2**63 - 1, 100


class TrancheSerializer(serializers.Serializer[Any]):
    available_from = serializers.DateField()
    gpu_seconds = serializers.IntegerField()


class FieldCommentSerializer(serializers.Serializer[Any]):
    field = serializers.CharField()
    text = serializers.CharField()


class ReviewSerializer(serializers.Serializer[Any]):
    """What the centre said. `by_policy`: nobody decided, the policy granted it at once."""

    id = serializers.IntegerField()
    verdict = serializers.CharField()
    by_policy = serializers.SerializerMethodField()
    gpu_seconds_awarded = serializers.IntegerField()
    end_awarded = serializers.DateField()
    conditions = serializers.CharField()
    tranches = TrancheSerializer(many=True, source="told_tranches")
    comment = serializers.CharField()
    field_comments = FieldCommentSerializer(many=True, source="told_comments")
    at = serializers.DateTimeField()

    def get_by_policy(self, review: Review) -> bool:
        return review.reviewer_id is None


class RequestLineSerializer(serializers.ModelSerializer[RequestLine]):
    partition = serializers.SlugRelatedField[Partition](slug_field="name", read_only=True)

    class Meta:
        model = RequestLine
        fields = ("partition", "gpu_seconds", "justification")


class AttachmentSerializer(serializers.ModelSerializer[Attachment]):
    class Meta:
        model = Attachment
        fields = ("id", "name", "size", "pages", "sha256", "added_at")


class RequestSerializer(serializers.ModelSerializer[AllocationRequest]):
    """Of one that was fetched with what is told of it: `accounting.api.asking.TOLD`."""

    project = serializers.SlugRelatedField[Project](slug_field="slug", read_only=True)
    to_project = serializers.SlugRelatedField[Project](slug_field="slug", read_only=True)
    cluster = serializers.SlugRelatedField[Cluster](slug_field="name", read_only=True)
    lines = RequestLineSerializer(many=True, read_only=True, source="told_lines")
    attachments = AttachmentSerializer(many=True, read_only=True, source="told_attachments")
    reviews = serializers.SerializerMethodField()

    class Meta:
        model = AllocationRequest
        fields = (
            "id",
            "project",
            "cluster",
            "kind",
            "state",
            "allocation",
            "to_project",
            "consented_at",
            "call",
            "gpu_seconds_asked",
            "lines",
            "start",
            "end",
            "justification",
            "people",
            "software",
            "attachments",
            "created_at",
            "changed_at",
            "submitted_at",
            "decided_at",
            "reviews",
        )

    @extend_schema_field(ReviewSerializer(many=True))
    def get_reviews(self, asked: Any) -> Any:
        """To the centre all; to the lab its answers, not what the centre says among itself."""
        request = self.context.get("request")
        inside = request is not None and reviews.sees_advice(person(request), asked)
        shown = [one for one in asked.told_reviews if inside or one.verdict not in AMONG_THE_CENTRE]
        return self._reviews.to_representation(shown)

    @cached_property
    def _reviews(self) -> serializers.ListSerializer[Review]:
        """One for all rows: making it takes longer than what it does for a row."""
        return serializers.ListSerializer(child=ReviewSerializer())


class WishedLineSerializer(StrictSerializer):
    partition = serializers.CharField(max_length=60, help_text="A name of the cluster's.")
    gpu_seconds = WholeNumber(min_value=1, max_value=MAX_GPU_SECONDS, help_text="Of devices.")
    justification = serializers.CharField(max_length=2000, required=False, allow_blank=True, default="")


@extend_schema_field(int)
class ById(serializers.PrimaryKeyRelatedField[Any]):
    """Another row by its number: a JSON integer that a database can hold."""

    def to_internal_value(self, data: Any) -> Any:
        if type(data) is not int or not 0 < data <= MAX_ID:
            self.fail("incorrect_type", data_type=type(data).__name__)
        return super().to_internal_value(data)


class VisibleAllocation(ById):
    def get_queryset(self) -> QuerySet[Allocation]:
        visible = Allocation.objects.visible_to(person(self.context["request"]))
        return visible.select_related("cluster", "project")


class WishSerializer(StrictSerializer):
    """What a draft says. Hours either as `lines` by partition, or as `gpu_seconds`, a sum to be charged."""

    cluster = Slug[Cluster](
        slug_field="name", queryset=Cluster.objects.filter(accepts_jobs=True), required=False
    )
    call = ById(queryset=Call.objects.open(), required=False, allow_null=True)
    to_project = serializers.CharField(max_length=60, required=False)
    lines = serializers.ListField(child=WishedLineSerializer(), max_length=MAX_LINES, required=False)
    gpu_seconds = WholeNumber(min_value=1, max_value=MAX_GPU_SECONDS, required=False)
    start = serializers.DateField(required=False)
    end = serializers.DateField(required=False)
    justification = serializers.CharField(max_length=10_000, required=False, allow_blank=True)
    people = serializers.CharField(max_length=5000, required=False, allow_blank=True)
    software = serializers.CharField(max_length=5000, required=False, allow_blank=True)

    def validate_start(self, start: date) -> date:
        return check_start(start)

    def validate_end(self, end: date) -> date:
        return check_soon(end)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """In the context, a request that is changed; what is not given stays as it is there."""
        asked: AllocationRequest | None = self.context.get("asked")
        project, allocation, cluster, start, end = (
            attrs.get(name) or getattr(asked, name, None)
            for name in ("project", "allocation", "cluster", "start", "end")
        )
        cluster = allocation.cluster if allocation else cluster
        if start and end and end < start:
            raise serializers.ValidationError({"end": _("The last day is before the first one.")})
        if "lines" in attrs and "gpu_seconds" in attrs:
            raise serializers.ValidationError({"gpu_seconds": _("Give either lines or a sum.")})
        if "lines" in attrs:
            attrs["lines"] = _lines(attrs["lines"], cluster)
        elif "cluster" in attrs and asked and asked.cluster != cluster and asked.lines.exists():
            raise serializers.ValidationError(
                {"lines": _("Another cluster has other partitions: give the lines.")}
            )
        if "to_project" in attrs:
            attrs["to_project"] = _receiver(project, attrs["to_project"])
        if allocation and "to_project" in attrs and "gpu_seconds" in attrs:
            check_left(allocation, attrs["gpu_seconds"])
        if attrs.get("call") and attrs["call"].cluster_id != (cluster and cluster.pk):
            raise serializers.ValidationError({"call": _("This call is for another cluster.")})
        return attrs


class NewRequestSerializer(WishSerializer):
    """A wish for GPU-hours. It goes to the centre at once, unless `submit` is false."""

    project = VisibleProject(slug_field="slug")
    kind = serializers.ChoiceField(choices=Kind.choices, default=Kind.NEW)
    allocation = VisibleAllocation(queryset=Allocation.objects.none(), required=False)
    submit = serializers.BooleanField(default=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        kind, allocation = attrs["kind"], attrs.get("allocation")
        if kind == Kind.NEW and allocation:
            raise serializers.ValidationError({"allocation": _("A new request changes no allocation.")})
        if kind == Kind.NEW and "cluster" not in attrs:
            raise serializers.ValidationError({"cluster": _("Say on which cluster.")})
        if kind != Kind.NEW and (allocation is None or allocation.project != attrs["project"]):
            raise serializers.ValidationError(
                {"allocation": _("Say which allocation of the project is meant.")}
            )
        if kind != Kind.NEW and "cluster" in attrs:
            raise serializers.ValidationError({"cluster": _("The allocation says on which cluster.")})
        if kind != Kind.TRANSFER and "to_project" in attrs:
            raise serializers.ValidationError({"to_project": _("Only a transfer has a receiver.")})
        return super().validate(attrs)


class OfferSerializer(serializers.ModelSerializer[AllocationRequest]):
    """What the receiver of a transfer has to know, and nothing else of the request."""

    cluster = serializers.SlugRelatedField[Cluster](slug_field="name", read_only=True)
    from_project = serializers.CharField(source="project.title", read_only=True)
    from_lab = serializers.CharField(source="project.lab.name", read_only=True)
    to_project = serializers.SlugRelatedField[Project](slug_field="slug", read_only=True)
    gpu_seconds = serializers.IntegerField(source="gpu_seconds_asked", read_only=True)

    class Meta:
        model = AllocationRequest
        fields = (
            "id", "state", "cluster", "gpu_seconds", "from_project", "from_lab", "to_project", "consented_at",
        )  # fmt: skip


class AnswerSerializer(StrictSerializer):
    agree = serializers.BooleanField()
    reason = serializers.CharField(max_length=500, required=False, allow_blank=True, default="")


def _lines(given: list[Mapping[str, Any]], cluster: Cluster | None) -> list[Line]:
    found = Partition.objects.filter(cluster=cluster).select_related("cluster").prefetch_related("factors")
    partitions = {partition.name: partition for partition in found}
    names = [line["partition"] for line in given]
    if len(set(names)) < len(names):
        raise serializers.ValidationError({"lines": _("Each partition stands once.")})
    if unknown := sorted(set(names) - partitions.keys()):
        raise serializers.ValidationError(
            {"lines": _("The cluster has no partition “%(name)s”.") % {"name": unknown[0]}}
        )
    lines = [
        Line(partitions[line["partition"]], line["gpu_seconds"], line["justification"]) for line in given
    ]
    if sum(line.cost for line in lines) > MAX_GPU_SECONDS:
        raise serializers.ValidationError({"lines": _("Together that is more than any cluster has.")})
    return lines


def _receiver(project: Project | None, slug: str) -> Project | None:
    try:
        return receiver(project, slug) if project else None
    except ValidationError as error:
        raise serializers.ValidationError({"to_project": error.messages}) from None
