"""What the centre answers to requests, for programs: the same actions as the pages."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

from django.db.models import QuerySet
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounting.actions import reviews
from accounting.actions.reviews import Portion
from accounting.api.asking import NUMBER, requests_in_sight
from accounting.api.wishes import RequestSerializer
from accounting.forms.awards import MOST_TRANCHES, check_award, check_new_end, check_tranches, grants_hours
from accounting.models import COMMENTABLE, AllocationRequest, Review
from accounting.units import MAX_GPU_SECONDS
from portal.api import Endpoints, StrictSerializer, WholeNumber, person
from portal.reauthentication import check_confirmed

FIELDS = {name for name, _label in COMMENTABLE}


class PortionSerializer(StrictSerializer):
    """A tranche: so many GPU-seconds from that day on."""

    available_from = serializers.DateField()
    gpu_seconds = WholeNumber(min_value=1, max_value=MAX_GPU_SECONDS)


class ApprovalSerializer(StrictSerializer):
    """`tranches` sum to `gpu_seconds`. `end`: another last day, of an extension, which awards 0 GPU-seconds."""

    gpu_seconds = WholeNumber(min_value=0, max_value=MAX_GPU_SECONDS)
    comment = serializers.CharField(max_length=5000, required=False, allow_blank=True, default="")
    conditions = serializers.CharField(max_length=5000, required=False, allow_blank=True, default="")
    tranches = serializers.ListField(
        child=PortionSerializer(), required=False, default=list, max_length=MOST_TRANCHES
    )
    end = serializers.DateField(required=False, allow_null=True, default=None)

    def validate_gpu_seconds(self, gpu_seconds: int) -> int:
        if not gpu_seconds and grants_hours(self.context["asked"]):
            raise serializers.ValidationError(_("Type an amount above zero."))
        check_award(self.context["asked"], gpu_seconds)
        return gpu_seconds

    def validate_tranches(self, rows: list[dict[str, Any]]) -> list[Portion]:
        return [Portion(**row) for row in rows]

    def validate_end(self, end: date | None) -> date | None:
        return check_new_end(self.context["asked"], end) if end else None

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        check_tranches(self.context["asked"], attrs["gpu_seconds"], attrs["tranches"])
        return attrs


class ReasonSerializer(StrictSerializer):
    comment = serializers.CharField(max_length=5000)


class ReturnSerializer(ReasonSerializer):
    """What should change, in general and beside fields: {"justification": "How long is one run?"}."""

    field_comments = serializers.DictField(
        child=serializers.CharField(max_length=2000), required=False, default=dict
    )

    def validate_field_comments(self, comments: dict[str, str]) -> dict[str, str]:
        unknown = sorted({*comments} - FIELDS)
        if unknown:
            raise serializers.ValidationError({name: [_("This is not known here.")] for name in unknown})
        return comments


class SecondSerializer(StrictSerializer):
    """`endorsement`: the id of the first approval that was read, of the request's `reviews`."""

    endorsement = WholeNumber(min_value=1, max_value=2**63 - 1)
    comment = serializers.CharField(max_length=5000, required=False, allow_blank=True, default="")

    def validate_endorsement(self, pk: int) -> Review:
        proposed: Review | None = self.context["asked"].endorsement
        if proposed is None or proposed.pk != pk:
            raise serializers.ValidationError(_("This is not the first approval that waits for a second."))
        return proposed


class ObjectionSerializer(SecondSerializer):
    comment = serializers.CharField(max_length=5000)


class Decisions(Endpoints[AllocationRequest]):
    """For the centre: approve (in part, in tranches), return, reject; agree or object as the second approver."""

    queryset = AllocationRequest.objects.none()
    serializer_class = RequestSerializer
    lookup_value_regex = NUMBER

    def get_queryset(self) -> QuerySet[AllocationRequest]:
        return requests_in_sight(self.request)

    @extend_schema(request=ApprovalSerializer, responses=RequestSerializer)
    @action(detail=True, methods=["post"], serializer_class=ApprovalSerializer)
    def approve(self, request: Request, pk: str) -> Response:
        """Grant `gpu_seconds`: what was asked, or fewer. Above the policy's threshold it waits for a second approver."""
        return self._done(reviews.approve_request, request)

    @extend_schema(request=ReturnSerializer, responses=RequestSerializer)
    @action(detail=True, methods=["post"], url_path="return", serializer_class=ReturnSerializer)
    def return_for_changes(self, request: Request, pk: str) -> Response:
        return self._done(reviews.return_request, request)

    @extend_schema(request=ReasonSerializer, responses=RequestSerializer)
    @action(detail=True, methods=["post"], serializer_class=ReasonSerializer)
    def reject(self, request: Request, pk: str) -> Response:
        return self._done(reviews.reject_request, request)

    @extend_schema(request=SecondSerializer, responses=RequestSerializer)
    @action(detail=True, methods=["post"], serializer_class=SecondSerializer)
    def agree(self, request: Request, pk: str) -> Response:
        """The second approval: exactly what the first proposes is granted."""
        return self._done(reviews.agree_to_award, request)

    @extend_schema(request=ObjectionSerializer, responses=RequestSerializer)
    @action(detail=True, methods=["post"], url_path="object", serializer_class=ObjectionSerializer)
    def object_to(self, request: Request, pk: str) -> Response:
        return self._done(reviews.object_to_award, request)

    def _done(self, deed: Callable[..., Any], request: Request) -> Response:
        """Fetch within sight, check right and body, call one action, answer with the request as it is now."""
        asked = self.get_object()
        reviews.check_may_decide(person(request), asked)
        check_confirmed(request._request)
        context = {**self.get_serializer_context(), "asked": asked}
        body = self.get_serializer_class()(data=request.data, context=context)
        body.is_valid(raise_exception=True)
        deed(by=person(request), request=asked, **body.validated_data)
        return Response(RequestSerializer(self.get_object(), context=context).data)
