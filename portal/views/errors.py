"""What every page answers when something is wrong. The API gets a problem document, people a page."""

from __future__ import annotations

from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views import defaults

from portal import api


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    if api.is_api(request):
        too_large = isinstance(exception, RequestDataTooBig)
        return api.problem(413 if too_large else 400, _("The request is too large, or can't be read."))
    return defaults.bad_request(request, exception)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    if api.is_api(request):
        return api.problem(403, str(exception) or _("You may not do this."))
    return defaults.permission_denied(request, exception)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """The same bytes for what is not there and for what is not yours to see: nothing of the request is repeated."""
    if api.is_api(request):
        return api.not_found_document()
    return render(request, "404.html", status=404)


def too_many(request: HttpRequest) -> HttpResponseBase:
    return render(request, "429.html", status=429)


def broken(request: HttpRequest) -> HttpResponseBase:
    if api.is_api(request):
        return api.problem(
            500, _("Something went wrong on our side. It was logged, and nothing was changed.")
        )
    return defaults.server_error(request)
