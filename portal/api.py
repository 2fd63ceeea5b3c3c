"""What every endpoint of the API shares: pages with a limit, known names only, and errors as problem documents (RFC 9457)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, TypeVar

from django.core.exceptions import PermissionDenied
from django.core.paginator import InvalidPage
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponseBase, JsonResponse
from django.utils.translation import gettext as _
from rest_framework import exceptions, pagination, serializers, status, viewsets
from rest_framework.request import Request
from rest_framework.views import set_rollback

from portal.lists import ByKeys
from portal.models import User
from portal.transitions import Overtaken

PROBLEM = "application/problem+json"
SLUG = re.compile(r"[-a-zA-Z0-9_.]{1,100}\Z", re.ASCII)
M = TypeVar("M", bound=Model)


def person(request: Request) -> User:
    """Who asks. IsAuthenticated let nobody else through."""
    if not isinstance(request.user, User):
        raise exceptions.NotAuthenticated
    return request.user


class Conflict(exceptions.APIException):
    """Somebody was first, or the thing is not in a state for this."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "conflict"


def problem_document(error: Exception, context: Mapping[str, Any]) -> HttpResponseBase | None:
    """REST framework's exception handler. None for what is a mistake of ours: that is a 500, and logged."""
    known = _known(error)
    if known is None:
        return None
    set_rollback()
    response = problem(known.status_code, _detail(known), errors=_errors(known))
    if isinstance(known, exceptions.NotAuthenticated | exceptions.AuthenticationFailed):
        response["WWW-Authenticate"] = "Session"
    wait = getattr(known, "wait", None)  # of a Throttled
    if wait:
        response["Retry-After"] = str(int(wait) + 1)
    if isinstance(known, exceptions.MethodNotAllowed):
        response["Allow"] = ", ".join(context["view"].allowed_methods)
    return response


def problem(status_code: int, detail: str, *, errors: Mapping[str, list[str]] | None = None) -> JsonResponse:
    """One problem document. `errors`: sentences by field."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status_code).phrase,
        "status": status_code,
        "detail": detail,
    }
    if errors:
        body["errors"] = errors
    return JsonResponse(body, status=status_code, content_type=PROBLEM)


def is_api(request: HttpRequest) -> bool:
    return request.path.startswith("/api/")


def not_found_document() -> JsonResponse:
    """The same bytes for what is not there and for what is not yours to see."""
    return problem(404, _("There is no such thing here, or it is not yours to see."))


def _known(error: Exception) -> exceptions.APIException | None:
    if isinstance(error, exceptions.NotAuthenticated | exceptions.AuthenticationFailed):
        error.status_code = (
            status.HTTP_401_UNAUTHORIZED
        )  # REST framework says 403 where a session is the only way in
    if isinstance(error, Http404):
        return exceptions.NotFound()
    if isinstance(error, PermissionDenied):
        return exceptions.PermissionDenied(str(error) or None)
    if isinstance(error, Overtaken):
        return Conflict(str(error))
    return error if isinstance(error, exceptions.APIException) else None


def _detail(error: exceptions.APIException) -> str:
    if isinstance(error, exceptions.NotFound):
        return _("There is no such thing here, or it is not yours to see.")
    if isinstance(error, exceptions.ValidationError):
        return _("Something in the request is not right; `errors` says what, by field.")
    return str(error.detail)


def _errors(error: exceptions.APIException) -> dict[str, list[str]]:
    if not isinstance(error, exceptions.ValidationError):
        return {}
    return dict(_by_field(error.detail, ""))


def _by_field(detail: Any, field: str) -> Iterable[tuple[str, list[str]]]:
    """Nested errors as {"files.0.name": [sentence, …]}; what belongs to no field is under "non_field_errors"."""
    if isinstance(detail, Mapping):
        for name, inner in detail.items():
            yield from _by_field(inner, f"{field}.{name}" if field else str(name))
    elif isinstance(detail, list) and any(isinstance(one, Mapping | list) for one in detail):
        for index, inner in enumerate(detail):
            yield from _by_field(inner, f"{field}.{index}" if field else str(index))
    elif detail:
        yield (
            field or "non_field_errors",
            [str(one) for one in (detail if isinstance(detail, list) else [detail])],
        )


class Pages(pagination.PageNumberPagination):
    page_size = 20
    page_size_query_param = "page_size"
    max_page_size = 500

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> Any:
        self._check_size(request)
        shown = view.shown() if view and view.action == "list" else None
        paginator = ByKeys(queryset, self.get_page_size(request) or self.page_size, shown)
        try:
            self.page = paginator.page(self.get_page_number(request, paginator))
        except InvalidPage:
            raise exceptions.ValidationError({"page": [_("There is no such page.")]}) from None
        self.request = request
        return list(self.page)

    def _check_size(self, request: Request) -> None:
        size = request.query_params.get("page_size", "1")
        if not (
            size.isascii() and size.isdecimal() and len(size) < 5 and 1 <= int(size) <= self.max_page_size
        ):
            message = _("Use a whole number from 1 to %(most)s.") % {"most": self.max_page_size}
            raise exceptions.ValidationError({"page_size": [message]})


class Endpoints(viewsets.GenericViewSet[M]):
    """A set of endpoints over one model. A query parameter that it does not know is refused, not silently ignored."""

    pagination_class = Pages
    parameters: frozenset[str] = frozenset()

    def shown(self) -> QuerySet[M] | None:
        """How a list fetches its rows, once it is found which of those in sight they are; None: as it finds them."""
        return None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        check_known(request.query_params, self.parameters | {"page", "page_size", "format"})


def check_known(given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse names that nobody knows: a typing error must not look like an answer."""
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise exceptions.ValidationError({name: [_("This is not known here.")] for name in unknown})


class WholeNumber(serializers.IntegerField):
    """A JSON integer; not "1_000", not true, not 1.0, which REST framework would take."""

    def to_internal_value(self, data: Any) -> int:
        if type(data) is not int:
            self.fail("invalid")
        return super().to_internal_value(data)


class Slug(serializers.SlugRelatedField[M]):
    """Another row by its slug or name. What can't be one is never asked of the database."""

    def to_internal_value(self, data: Any) -> M:
        if not isinstance(data, str) or not SLUG.match(data):
            self.fail("invalid")
        return super().to_internal_value(data)


class StrictSerializer(serializers.Serializer[Any]):
    """Refuses fields that it does not know, or that only the portal writes."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            check_known(data, (name for name, field in self.fields.items() if not field.read_only))
        return super().to_internal_value(data)


class NoBodySerializer(StrictSerializer):
    """Nothing needs to be said."""
