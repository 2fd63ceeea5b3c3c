"""Asking once more who is there, before a deed that a forgotten open browser must not do.

    @confirm_again
    def request_decide(request, pk): …

Whoever logged in or confirmed within ACCOUNT_REAUTHENTICATION_TIMEOUT isn't asked. Else the POST waits in the session
until password or second factor are given, and then goes on. In the API nobody can be asked: `check_confirmed` refuses.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import wraps
from typing import Any

from allauth.account.adapter import get_adapter
from allauth.account.authentication import get_authentication_records
from allauth.core.exceptions import ReauthenticationRequired
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase
from django.utils.translation import gettext as _


def confirm_again(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """For a page: a POST needs that its person confirmed recently. Reading does not."""

    @wraps(view)
    def confirmed(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.method == "POST" and not confirmed_recently(request):
            raise ReauthenticationRequired
        return view(request, *args, **kwargs)

    return confirmed


def check_confirmed(request: HttpRequest) -> None:
    """For an endpoint of the API. Raises PermissionDenied with the sentence that says what to do."""
    if not confirmed_recently(request):
        raise PermissionDenied(
            _(
                "Confirm first that it is you, at /accounts/reauthenticate/ in this browser; then send this again."
            )
        )


def confirmed_recently(request: HttpRequest) -> bool:
    """Whether the person logged in or confirmed lately, or has nothing here to confirm with (only a connected log-in)."""
    since = time.time() - settings.ACCOUNT_REAUTHENTICATION_TIMEOUT
    if any(record["at"] > since for record in get_authentication_records(request, request.user)):
        return True
    return not get_adapter().get_reauthentication_methods(request.user)
