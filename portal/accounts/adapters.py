"""What django-allauth asks us: whom it lets in, what it counts, what it mails and says.

Mails go through the portal's own outbox. A link in one is a right, so it is made when the mail goes out (`portal.account_links`).
"""

from __future__ import annotations

import logging
import secrets
from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.models import EmailAddress
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialLogin
from allauth.socialaccount.providers.base import AuthError
from cryptography.fernet import Fernet, MultiFernet
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.encoding import force_bytes
from django.utils.translation import gettext as _

from portal.accounts import sentences
from portal.accounts.second_factor import must_have_one
from portal.emails import post
from portal.models import User
from portal.models.audit import record
from portal.reauthentication import confirmed_recently
from portal.registering import belongs_to_another, confirm_only_address

log = logging.getLogger(__name__)


class AccountAdapter(DefaultAccountAdapter):
    error_messages = DefaultAccountAdapter.error_messages | sentences.ERRORS

    # ── Letting in ──

    def _get_login_attempts_cache_key(self, request: HttpRequest, **credentials: Any) -> str:
        """Wrong passwords count for an account *and* an address: nobody keeps somebody else out by guessing."""
        key: str = super()._get_login_attempts_cache_key(request, **credentials)
        return f"{self.get_client_ip(request)} {key}"

    def authenticate(self, request: HttpRequest, **credentials: Any) -> User | None:
        """Who was switched off gets the answer of who does not exist, and it counts as a wrong try."""
        user: User | None = super().authenticate(request, **credentials)
        if user and not user.is_active:
            self.pre_authenticate(request, **credentials)
            return None
        return user

    def respond_user_inactive(self, request: HttpRequest, user: User) -> HttpResponse:
        messages.error(request, str(sentences.ERRORS["account_inactive"]))
        return redirect("account_login")

    def set_password(self, user: User, password: str) -> None:
        super().set_password(user, password)
        confirm_only_address(user)

    def post_login(self, request: HttpRequest, user: User, **about: Any) -> HttpResponse:
        """The language that the person chose comes along into this browser."""
        response: HttpResponse = super().post_login(request, user, **about)
        if user.language:
            response.set_cookie(
                settings.LANGUAGE_COOKIE_NAME, user.language, max_age=settings.LANGUAGE_COOKIE_AGE
            )
        return response

    def is_reauthentication_required(self, *, app: str, **more: Any) -> bool:
        """allauth's own pages ask again by the portal's rule: not whoever has just logged in."""
        return not confirmed_recently(self.request)

    # ── An invitation's link was mailed to its address: whoever holds it has proven the address ──

    def is_email_verified(self, request: HttpRequest, email: str) -> bool:
        return bool(email) and email.lower() == request.session.get("invited_email", "").lower()

    def unstash_verified_email(self, request: HttpRequest) -> str | None:
        invited: str | None = request.session.pop("invited_email", None)
        return invited

    # ── Saying ──

    def add_message(
        self,
        request: HttpRequest,
        level: int,
        message_template: str | None = None,
        message_context: dict[str, Any] | None = None,
        extra_tags: str = "",
        message: str | None = None,
    ) -> None:
        """Allauth names a template of its own; we have a sentence, or nothing worth saying."""
        said = message or sentences.said(message_template or "", message_context or {})
        if said:
            messages.add_message(request, level, said)

    # ── Mailing ──

    def send_confirmation_mail(self, request: HttpRequest, emailconfirmation: Any, signup: bool) -> None:
        address: EmailAddress = emailconfirmation.email_address
        if belongs_to_another(address):
            return self.send_account_already_exists_mail(address.email)
        return self._post(
            "account_confirm",
            to=address.email,
            path=reverse("account_confirm_email", args=["TOKEN"]),
            seal=("address", str(address.pk)),
            person=address.user.name,
        )

    def send_password_reset_mail(self, user: User, email: str, context: dict[str, Any]) -> None:
        page = reverse("account_reset_password_from_key", kwargs={"uidb36": "UID", "key": "KEY"})
        self._post(
            "account_reset",
            to=user if email.lower() == user.email else email.lower(),
            path=page.replace("UID-KEY", "TOKEN"),
            seal=("password", str(user.pk)),
            person=user.name,
        )

    def send_account_already_exists_mail(self, email: str) -> None:
        self._post("account_exists", to=email, path=reverse("account_login"))

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Whatever has no method of its own: only that somebody without an account asked for a new password."""
        self._post("account_unknown", to=email, path=reverse("account_signup"))

    def send_notification_mail(
        self,
        template_prefix: str,
        user: User,
        context: dict[str, Any] | None = None,
        email: str | None = None,
    ) -> None:
        """That something about the account changed: told to its person, and kept. allauth's name for it says what."""
        what = template_prefix.rpartition("/")[2]
        record("account changed", user, by=user, what=what)
        self._post("account_changed", to=email or user, path=reverse("account"), person=user.name, what=what)

    def _post(self, template: str, **given: Any) -> None:
        """Each of these mails has a reason of its own; how many, the rate limits say."""
        post(template, key=f"{template} {secrets.token_hex(8)}", **given)


class ConnectedLogInAdapter(DefaultSocialAccountAdapter):
    error_messages = DefaultSocialAccountAdapter.error_messages | sentences.CONNECTED_ERRORS

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        """What an institution says about addresses proves nothing about those of other institutions: we mail a link."""
        for address in sociallogin.email_addresses:
            address.verified = False

    def populate_user(self, request: HttpRequest, sociallogin: SocialLogin, data: dict[str, Any]) -> User:
        user: User = super().populate_user(request, sociallogin, data)
        parts = (data.get("first_name"), data.get("last_name"))
        user.name = str(data.get("name") or " ".join(str(part) for part in parts if part))[:150]
        return user

    def get_signup_form_initial_data(self, sociallogin: SocialLogin) -> dict[str, Any]:
        return {"email": sociallogin.user.email, "name": sociallogin.user.name}

    def on_authentication_error(
        self,
        request: HttpRequest,
        provider: Any,
        error: Any = None,
        exception: Exception | None = None,
        extra_context: Any = None,
    ) -> None:
        raise ImmediateHttpResponse(failed_elsewhere(request, error, exception))


def failed_elsewhere(request: HttpRequest, error: Any, exception: Exception | None = None) -> HttpResponse:
    """Back to where the person came from, with a sentence."""
    if error == AuthError.CANCELLED:
        messages.info(request, _("You stopped on the other side. Nothing was changed."))
    else:
        log.warning("a connected log-in failed: %s %r", error, exception)
        messages.error(
            request, _("The other side did not answer as it should. Try again, or use your password.")
        )
    return redirect("socialaccount_connections" if request.user.is_authenticated else "account_login")


class SecondFactorAdapter(DefaultMFAAdapter):
    """Keys of authenticator apps and recovery codes are kept encrypted: who reads the database can't use them."""

    error_messages = DefaultMFAAdapter.error_messages | sentences.SECOND_FACTOR_ERRORS

    def encrypt(self, text: str) -> str:
        return _safe().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        return _safe().decrypt(encrypted_text.encode()).decode()

    def can_delete_authenticator(self, authenticator: Authenticator) -> bool:
        """The last one stays while the person's role needs one."""
        user: User = authenticator.user
        others = Authenticator.objects.filter(user=user).exclude(pk=authenticator.pk)
        return others.exclude(type=Authenticator.Type.RECOVERY_CODES).exists() or not must_have_one(user)

    def generate_authenticator_name(self, user: User, type: Authenticator.Type) -> str:
        number = Authenticator.objects.filter(user=user, type=type).count() + 1
        return _("Security key %(number)s") % {"number": number}

    def get_public_key_credential_rp_entity(self) -> dict[str, str]:
        site: dict[str, str] = super().get_public_key_credential_rp_entity()
        return site | {"name": settings.CENTRE_NAME}


def _safe() -> MultiFernet:
    keys = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    return MultiFernet(
        [
            Fernet(urlsafe_b64encode(sha256(b"portal.second_factor" + force_bytes(key)).digest()))
            for key in keys
        ]
    )
