"""One's own account: how one logs in, where one is logged in, in which language the portal speaks."""

from __future__ import annotations

import re
from typing import Any

from allauth.account.models import EmailAddress
from allauth.account.utils import passthrough_next_redirect_url
from allauth.account.views import ConfirmEmailView, SignupView
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from allauth.socialaccount.providers.openid_connect import views as openid_connect
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.i18n import set_language as django_set_language
from requests import RequestException

from portal.accounts.adapters import failed_elsewhere
from portal.accounts.second_factor import must_have_one
from portal.models import User
from portal.registering import belongs_to_another
from portal.requests import PersonRequest

NUMBER = re.compile(r"[0-9]{1,18}")


def account(request: PersonRequest) -> HttpResponse:
    person = request.user
    factors = Authenticator.objects.filter(user=person).values_list("type", flat=True)
    context = {
        "addresses": EmailAddress.objects.filter(user=person).order_by("-primary", "email"),
        "has_app": Authenticator.Type.TOTP in factors,
        "key_count": list(factors).count(Authenticator.Type.WEBAUTHN),
        "must_have_factor": must_have_one(person),
        "session_count": UserSession.objects.filter(user=person).count(),
        "connected": SocialAccount.objects.filter(user=person),
        "can_connect": bool(settings.OIDC_PROVIDERS),
    }
    return render(request, "account/account.html", context)


class SignUp(SignupView):
    """Whoever was invited and has an account already logs in instead: only the invited person gets so far."""

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        invited = request.session.get("invited_email", "")
        if invited and User.objects.filter(email=invited.lower()).exists():
            return redirect(passthrough_next_redirect_url(request, reverse("account_login"), "next"))
        answer: HttpResponseBase = super().get(request, *args, **kwargs)
        return answer


sign_up = SignUp.as_view()


class ConfirmEmail(ConfirmEmailView):
    """What has become somebody else's main address can't be confirmed any more."""

    def get_object(self, queryset: Any = None) -> Any:
        confirmation = super().get_object(queryset)
        if belongs_to_another(confirmation.email_address):
            raise Http404
        return confirmation


confirm_email = ConfirmEmail.as_view()


@login_not_required
def log_in_elsewhere(request: HttpRequest, provider_id: str) -> HttpResponse:
    """To the log-in page of another place; back again if that place can't be reached."""
    try:
        answer: HttpResponse = openid_connect.login(request, provider_id)
    except RequestException as error:
        return failed_elsewhere(request, provider_id, error)
    return answer


def security_keys(request: PersonRequest) -> HttpResponse:
    """allauth comes back here from a key that was renamed or removed; ours are listed with the other second factors."""
    return redirect("mfa_index")


def sessions(request: PersonRequest) -> HttpResponse:
    """The browsers in which the person is logged in, this one first."""
    found = UserSession.objects.purge_and_list(request.user)
    here = request.session.session_key
    rows = sorted(found, key=lambda one: (one.session_key != here, -one.created_at.timestamp()))
    context = {"rows": rows, "here": here, "others": sum(one.session_key != here for one in rows)}
    return render(request, "usersessions/usersession_list.html", context)


def session_end(request: PersonRequest) -> HttpResponse:
    """Log out one other browser, or all of them. An unknown one is one that has ended meanwhile."""
    ended = list(_chosen(request))
    for session in ended:
        session.end()
    if ended:
        messages.success(request, _("Logged out there."))
    else:
        messages.warning(request, _("That browser was logged out already."))
    return redirect("usersessions_list")


def _chosen(request: PersonRequest) -> Any:
    others = UserSession.objects.filter(user=request.user).exclude(session_key=request.session.session_key)
    chosen = request.POST.get("session", "")
    if chosen == "all":
        return others
    return others.filter(pk=int(chosen)) if NUMBER.fullmatch(chosen) else others.none()


@login_not_required
def set_language(request: HttpRequest) -> HttpResponse:
    """Django's switch, and a person's choice is kept: mails come in it, and so does the next browser."""
    chosen = request.POST.get("language", "")
    if isinstance(request.user, User) and chosen in dict(settings.LANGUAGES):
        request.user.language = chosen
        request.user.save(update_fields=["language"])
    return django_set_language(request)
