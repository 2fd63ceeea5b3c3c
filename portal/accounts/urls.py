"""The addresses below /accounts/: those of django-allauth's pages that we use, under the names that it knows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from allauth.account import views as account
from allauth.mfa.base import views as second_factor
from allauth.mfa.recovery_codes import views as recovery_codes
from allauth.mfa.totp import views as totp
from allauth.mfa.webauthn import views as webauthn
from allauth.socialaccount import views as connected
from allauth.socialaccount.providers.openid_connect import views as openid_connect
from django.urls import URLPattern, path, re_path
from django.views.decorators.http import require_POST, require_safe

from portal.accounts import views
from portal.lists import form_page

View = Callable[..., Any]


def form(route: str, view: View, name: str) -> URLPattern:
    """A page with a form. allauth's views take PUT for POST, which nobody needs."""
    return path(route, form_page(view), name=name)


def page(route: str, view: View, name: str) -> URLPattern:
    return path(route, require_safe(view), name=name)


def deed(route: str, view: View, name: str) -> URLPattern:
    return path(route, require_POST(view), name=name)


urlpatterns = [
    page("", views.account, name="account"),
    form("login/", account.login, name="account_login"),
    deed("logout/", account.logout, name="account_logout"),
    form("signup/", views.sign_up, name="account_signup"),
    form("email/", account.email, name="account_email"),
    page("confirm-email/", account.email_verification_sent, name="account_email_verification_sent"),
    re_path(
        r"^confirm-email/(?P<key>[-:\w]+)/$",
        form_page(views.confirm_email),
        name="account_confirm_email",
    ),
    form("password/change/", account.password_change, name="account_change_password"),
    form("password/set/", account.password_set, name="account_set_password"),
    form("password/reset/", account.password_reset, name="account_reset_password"),
    page("password/reset/done/", account.password_reset_done, name="account_reset_password_done"),
    page(
        "password/reset/key/done/",
        account.password_reset_from_key_done,
        name="account_reset_password_from_key_done",
    ),
    re_path(
        r"^password/reset/key/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>.+)/$",
        form_page(account.password_reset_from_key),
        name="account_reset_password_from_key",
    ),
    form("reauthenticate/", account.reauthenticate, name="account_reauthenticate"),
    page("2fa/", second_factor.index, name="mfa_index"),
    form("2fa/authenticate/", second_factor.authenticate, name="mfa_authenticate"),
    form("2fa/reauthenticate/", second_factor.reauthenticate, name="mfa_reauthenticate"),
    form("2fa/totp/activate/", totp.activate_totp, name="mfa_activate_totp"),
    form("2fa/totp/deactivate/", totp.deactivate_totp, name="mfa_deactivate_totp"),
    page("2fa/recovery-codes/", recovery_codes.view_recovery_codes, name="mfa_view_recovery_codes"),
    form(
        "2fa/recovery-codes/generate/",
        recovery_codes.generate_recovery_codes,
        name="mfa_generate_recovery_codes",
    ),
    page(
        "2fa/recovery-codes/download/",
        recovery_codes.download_recovery_codes,
        name="mfa_download_recovery_codes",
    ),
    page("2fa/webauthn/", views.security_keys, name="mfa_list_webauthn"),
    form("2fa/webauthn/add/", webauthn.add_webauthn, name="mfa_add_webauthn"),
    form(
        "2fa/webauthn/reauthenticate/", webauthn.reauthenticate_webauthn, name="mfa_reauthenticate_webauthn"
    ),
    form("2fa/webauthn/keys/<int:pk>/edit/", webauthn.edit_webauthn, name="mfa_edit_webauthn"),
    form("2fa/webauthn/keys/<int:pk>/remove/", webauthn.remove_webauthn, name="mfa_remove_webauthn"),
    page("sessions/", views.sessions, name="usersessions_list"),
    deed("sessions/end/", views.session_end, name="session_end"),
    form("3rdparty/", connected.connections, name="socialaccount_connections"),
    form("3rdparty/signup/", connected.signup, name="socialaccount_signup"),
    deed("oidc/<slug:provider_id>/login/", views.log_in_elsewhere, name="openid_connect_login"),
    page("oidc/<slug:provider_id>/login/callback/", openid_connect.callback, name="openid_connect_callback"),
]
