"""Technical reviews, for the centre's programs: the same actions as the pages. No lab ever reads them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

from django.db.models import QuerySet
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounting.actions import technical_reviews as actions
from accounting.api.asking import NUMBER, requests_in_sight
from accounting.forms.fields import check_start
from accounting.models import AllocationRequest, TechnicalReview
from portal.api import Endpoints, NoBodySerializer, StrictSerializer, WholeNumber, person
from portal.models import User
from portal.permissions import Permission, check_permission


class TechnicalReviewSerializer(serializers.ModelSerializer[TechnicalReview]):
    reviewer = serializers.SlugRelatedField[User](slug_field="email", read_only=True)

    class Meta:
        model = TechnicalReview
        fields = ("id", "request", "reviewer", "state", "due", "score", "comment", "asked_at", "answered_at")


class AskSerializer(StrictSerializer):
    """Whom of the centre to ask, by e-mail address, and until when."""

    reviewer = serializers.EmailField(max_length=254)
    due = serializers.DateField()

    def validate_reviewer(self, email: str) -> User:
        person = User.objects.filter(email=email.lower(), is_active=True).first()
        if person is None or not actions.may_review(person, self.context["asked"]):
            raise serializers.ValidationError(_("Nobody of the centre who can review this has that address."))
        return person

    def validate_due(self, due: date) -> date:
        return check_start(due)


class WrittenSerializer(StrictSerializer):
    has_no_conflict = serializers.BooleanField()
    score = WholeNumber(min_value=1, max_value=5)
    comment = serializers.CharField(max_length=10_000)

    def validate_has_no_conflict(self, declared: bool) -> bool:
        if not declared:
            raise serializers.ValidationError(
                _("Declare that you have no conflict of interest, or say that you have one.")
            )
        return declared

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        return {name: attrs[name] for name in ("score", "comment")}


class RequestReviews(Endpoints[AllocationRequest]):
    """The technical reviews of one request."""

    queryset = AllocationRequest.objects.none()
    serializer_class = AskSerializer
    lookup_value_regex = NUMBER

    def get_queryset(self) -> QuerySet[AllocationRequest]:
        return requests_in_sight(self.request)

    @extend_schema(request=AskSerializer, responses={201: TechnicalReviewSerializer})
    @action(detail=True, methods=["post"], url_path="technical-reviews", serializer_class=AskSerializer)
    def ask(self, request: Request, pk: str) -> Response:
        """Ask somebody of the centre whether the request is sound."""
        asked = self.get_object()
        check_permission(person(request), Permission.ASK_FOR_REVIEW)
        body = AskSerializer(data=request.data, context={**self.get_serializer_context(), "asked": asked})
        body.is_valid(raise_exception=True)
        review = actions.ask_for_review(by=person(request), request=asked, **body.validated_data)
        return Response(TechnicalReviewSerializer(review).data, status=201)


class TechnicalReviews(mixins.ListModelMixin, mixins.RetrieveModelMixin, Endpoints[TechnicalReview]):
    """Technical reviews that one may read: one's own, and those of requests on which one may decide."""

    queryset = TechnicalReview.objects.select_related("reviewer")
    serializer_class = TechnicalReviewSerializer
    lookup_value_regex = NUMBER

    def get_queryset(self) -> QuerySet[TechnicalReview]:
        readable = TechnicalReview.objects.readable_to(person(self.request))
        return readable.select_related("reviewer", "request__project__lab")

    @extend_schema(request=WrittenSerializer, responses=TechnicalReviewSerializer)
    @action(detail=True, methods=["post"], serializer_class=WrittenSerializer)
    def write(self, request: Request, pk: str) -> Response:
        return self._done(actions.write_review, request)

    @extend_schema(request=NoBodySerializer, responses=TechnicalReviewSerializer)
    @action(detail=True, methods=["post"], serializer_class=NoBodySerializer)
    def conflict(self, request: Request, pk: str) -> Response:
        """Declare a conflict of interest."""
        return self._done(actions.declare_conflict, request)

    @extend_schema(request=NoBodySerializer, responses=TechnicalReviewSerializer)
    @action(detail=True, methods=["post"], url_path="call-off", serializer_class=NoBodySerializer)
    def call_off(self, request: Request, pk: str) -> Response:
        return self._done(actions.call_off_review, request)

    def _done(self, deed: Callable[..., Any], request: Request) -> Response:
        review = self.get_object()
        body = self.get_serializer_class()(data=request.data, context=self.get_serializer_context())
        body.is_valid(raise_exception=True)
        deed(by=person(request), review=review, **body.validated_data)
        return Response(TechnicalReviewSerializer(review).data)
