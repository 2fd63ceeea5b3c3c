"""Bodies of the API: JSON of a bounded size, without doubled keys, NaN, or more levels than Python can follow.

A module of its own, because REST framework's views import it while `portal.api` imports REST framework's views.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.utils.translation import gettext as _
from rest_framework import exceptions, parsers, status


class TooLarge(exceptions.APIException):
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_code = "too_large"


class StrictJSONParser(parsers.JSONParser):
    """JSON of a bounded size, without doubled keys, NaN, or more levels than Python can follow."""

    def parse(
        self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE or 0
        try:
            body = stream.read(limit + 1)
        except RequestDataTooBig:
            raise TooLarge(_too_large(limit)) from None
        if len(body) > limit:
            raise TooLarge(_too_large(limit))
        try:
            return json.loads(body.decode(), object_pairs_hook=_once_each, parse_constant=_no_constant)
        except RecursionError:
            raise exceptions.ParseError(_("The JSON is nested too deeply.")) from None
        except ValueError as error:
            raise exceptions.ParseError(
                _("This is not JSON that can be read: %(why)s") % {"why": error}
            ) from None


def _too_large(limit: int) -> str:
    return _("The body is larger than %(limit)s bytes.") % {"limit": limit}


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")
