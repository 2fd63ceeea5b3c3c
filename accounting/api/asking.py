"""What a lab asks, for programs: drafts, sending, consent to transfers, attached PDFs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from django.db.models import Prefetch, QuerySet
from django.http import FileResponse
from django.shortcuts import get_object_or_404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import exceptions, mixins, parsers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounting.actions import attachments as attaching
from accounting.actions import consents
from accounting.actions import requests as actions
from accounting.actions.authors import check_may_write
from accounting.api.saying import said
from accounting.api.wishes import (
    AnswerSerializer,
    AttachmentSerializer,
    NewRequestSerializer,
    OfferSerializer,
    RequestSerializer,
    WishSerializer,
)
from accounting.attaching import choose_pdf, pieces
from accounting.models import AllocationRequest, RequestLine, Review
from accounting.serving import as_file
from portal.api import Endpoints, NoBodySerializer, person
from portal.models.people import CENTRE_ROLES

NUMBER = r"[0-9]{1,18}"
# What a request tells beside its own fields. As lists: a related manager for each row's takes longer than the row.
TOLD = (
    Prefetch(
        "reviews",
        Review.objects.prefetch_related(
            Prefetch("tranches", to_attr="told_tranches"), Prefetch("field_comments", to_attr="told_comments")
        ),
        to_attr="told_reviews",
    ),
    Prefetch("lines", RequestLine.objects.select_related("partition"), to_attr="told_lines"),
    Prefetch("attachments", to_attr="told_attachments"),
)


class PdfParser(parsers.BaseParser):
    """The PDF itself as the body: handed on unread, so that nothing is whole in memory."""

    media_type = "application/pdf"

    def parse(
        self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        return {"stream": stream}


def requests_in_sight(request: Request) -> QuerySet[AllocationRequest]:
    visible = AllocationRequest.objects.visible_to(person(request))
    return visible.select_related(
        "project__lab", "cluster", "created_by", "to_project__lab", "allocation__cluster", "call"
    ).prefetch_related("technical_reviews", *TOLD)


class Requests(mixins.ListModelMixin, mixins.RetrieveModelMixin, Endpoints[AllocationRequest]):
    """Requests for GPU-hours: ask, change, submit, withdraw."""

    queryset = AllocationRequest.objects.select_related("project", "cluster")
    serializer_class = RequestSerializer
    lookup_value_regex = NUMBER

    def get_queryset(self) -> QuerySet[AllocationRequest]:
        return requests_in_sight(self.request)

    def shown(self) -> QuerySet[AllocationRequest]:
        told = AllocationRequest.objects.prefetch_related(*TOLD)
        if person(self.request).roles & {*CENTRE_ROLES}:
            # Whether it is one's own, or one had a conflict, decides what one reads of it.
            return told.select_related("project__lab", "cluster", "to_project__lab").prefetch_related(
                "technical_reviews"
            )
        own = (field.name for field in AllocationRequest._meta.concrete_fields)
        names = ("project__slug", "to_project__slug", "cluster__name")
        return told.select_related("project", "cluster", "to_project").only(*own, *names)

    @extend_schema(request=NewRequestSerializer, responses={201: RequestSerializer})
    def create(self, request: Request) -> Response:
        body = NewRequestSerializer(data=request.data, context=self.get_serializer_context())
        body.is_valid(raise_exception=True)
        made = said(actions.request_hours, by=person(request), **body.validated_data)
        told = self.get_queryset().get(pk=made.pk)
        return Response(RequestSerializer(told, context=self.get_serializer_context()).data, status=201)

    @extend_schema(request=WishSerializer, responses=RequestSerializer)
    def partial_update(self, request: Request, pk: str) -> Response:
        """Change what is given in a draft or a returned request."""
        return self.done(actions.change_request, request)

    @extend_schema(request=NoBodySerializer, responses=RequestSerializer)
    @action(detail=True, methods=["post"], serializer_class=NoBodySerializer)
    def submit(self, request: Request, pk: str) -> Response:
        """Send a draft or a returned request to the centre."""
        return self.done(actions.submit_request, request)

    @extend_schema(request=NoBodySerializer, responses=RequestSerializer)
    @action(detail=True, methods=["post"], serializer_class=NoBodySerializer)
    def withdraw(self, request: Request, pk: str) -> Response:
        return self.done(actions.withdraw_request, request)

    @extend_schema(methods=["get"], responses=OfferSerializer)
    @extend_schema(methods=["post"], request=AnswerSerializer, responses=OfferSerializer)
    @action(detail=True, methods=["get", "post"], serializer_class=AnswerSerializer)
    def consent(self, request: Request, pk: str) -> Response:
        """A transfer to a project of yours: what is offered, and your answer."""
        offers = AllocationRequest.objects.offered_to(person(request)).select_related(
            "project__lab", "to_project__lab", "cluster", "created_by"
        )
        offer = get_object_or_404(offers, pk=pk)
        if request.method == "POST":
            body = AnswerSerializer(data=request.data)
            body.is_valid(raise_exception=True)
            answer = body.validated_data
            if answer["agree"]:
                said(consents.give, by=person(request), request=offer)
            else:
                said(consents.decline, by=person(request), request=offer, reason=answer["reason"])
        return Response(OfferSerializer(offer).data)

    @extend_schema(request=OpenApiTypes.BINARY, responses={201: AttachmentSerializer})
    @action(
        detail=True,
        methods=["post"],
        parser_classes=[PdfParser, parsers.MultiPartParser],
        serializer_class=AttachmentSerializer,
    )
    def attachments(self, request: Request, pk: str) -> Response:
        """Attach a PDF: as `file` of a form, or as the body itself with ?name=figures.pdf."""
        asked = self.get_object()
        check_may_write(person(request), asked)
        name, chunks = _file(request)
        kept = said(attaching.attach, by=person(request), request=asked, name=name, chunks=chunks)
        return Response(AttachmentSerializer(kept).data, status=201)

    @extend_schema(request=None, responses={204: None})
    @action(
        detail=True, methods=["delete"], url_path=rf"attachments/(?P<file_id>{NUMBER})", url_name="attachment"
    )
    def attachment(self, request: Request, pk: str, file_id: str) -> Response:
        """Take an attachment away."""
        attachment = get_object_or_404(
            self.get_object().attachments.select_related("request__project__lab"), pk=file_id
        )
        said(attaching.remove_attachment, by=person(request), attachment=attachment)
        return Response(status=204)

    @extend_schema(responses={(200, "application/pdf"): OpenApiTypes.BINARY})
    @action(
        detail=True, url_path=rf"attachments/(?P<file_id>{NUMBER})/content", url_name="attachment-content"
    )
    def attachment_content(self, request: Request, pk: str, file_id: str) -> FileResponse:
        return as_file(get_object_or_404(self.get_object().attachments.all(), pk=file_id))

    def get_serializer_class(self) -> Any:
        return WishSerializer if self.action == "partial_update" else super().get_serializer_class()

    @property
    def parameters(self) -> frozenset[str]:  # type: ignore[override]  # differs by action
        return frozenset({"name"}) if self.action == "attachments" else frozenset()

    def done(self, deed: Callable[..., Any], request: Request) -> Response:
        """Fetch within sight, check the body, call one action, answer with the request as it is now."""
        asked = self.get_object()
        context = self.get_serializer_context()
        body = self.get_serializer_class()(data=request.data, context={**context, "asked": asked})
        body.is_valid(raise_exception=True)
        said(deed, by=person(request), request=asked, **body.validated_data)
        return Response(RequestSerializer(self.get_object(), context=context).data)


def _file(request: Request) -> tuple[str, Iterable[bytes]]:
    if stream := (request.data.get("stream") if isinstance(request.data, dict) else None):
        return request.query_params.get("name", ""), pieces(stream)
    file = request.FILES.get("file")
    if file is None:
        raise exceptions.ValidationError({"file": [choose_pdf()]})
    return file.name or "", file.chunks()
