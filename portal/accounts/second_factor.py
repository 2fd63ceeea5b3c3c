"""People whose role decides over others' hours or data need a second factor; until they have one, they get nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from allauth.mfa.models import Authenticator
from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.utils.translation import gettext as _

from portal import api
from portal.models import User

OPEN = frozenset(
    {
        "account",
        "account_confirm_email",
        "account_email",
        "account_login",
        "account_logout",
        "account_reauthenticate",
        "account_set_password",
        "account_change_password",
        "mfa_activate_totp",
        "mfa_add_webauthn",
        "mfa_download_recovery_codes",
        "mfa_generate_recovery_codes",
        "mfa_index",
        "mfa_list_webauthn",
        "mfa_reauthenticate",
        "mfa_reauthenticate_webauthn",
        "mfa_view_recovery_codes",
        "set_language",
    }
)


def must_have_one(user: User) -> bool:
    """Whether a role of the person is one of MFA_REQUIRED_ROLES."""
    return not user.roles.isdisjoint(settings.MFA_REQUIRED_ROLES)


def lacks_one(user: User) -> bool:
    return must_have_one(user) and not Authenticator.objects.filter(user=user).exists()


class SecondFactorMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, *_view: Any) -> HttpResponseBase | None:
        if not settings.MFA_REQUIRED_ROLES or not isinstance(request.user, User):
            return None
        page = request.resolver_match.view_name if request.resolver_match else ""
        if page in OPEN or not lacks_one(request.user):
            return None
        if api.is_api(request):
            return api.problem(403, _("Your role needs a second factor. Set it up on your account's page."))
        return redirect("mfa_index")
