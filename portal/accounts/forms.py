"""The forms of log-in, sign-up and account: allauth's, in the portal's words and without text inside the fields."""

from __future__ import annotations

from typing import Any

from allauth.account import forms as account
from allauth.core import context
from allauth.mfa.base import forms as second_factor
from allauth.mfa.totp import forms as totp
from allauth.socialaccount import forms as connected
from django import forms
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _

from portal.models import User

LABELS = {
    "code": _("Code"),
    "email": _("E-mail address"),
    "login": _("E-mail address"),
    "oldpassword": _("Present password"),
    "password": _("Password"),
    "password1": _("New password"),
    "password2": _("New password, once more"),
}


class InOurWords(forms.Form):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, field in self.fields.items():
            field.label = LABELS.get(name, field.label)
            field.widget.attrs.pop("placeholder", None)


class LogInForm(InOurWords, account.LoginForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["password"].help_text = ""  # the page has its own link to the reset


class MakesAnAccount(account.BaseSignupForm):
    """Person, address and mail at once or not at all; of two at the same time, the second finds a known address."""

    def try_save(self, request: HttpRequest) -> tuple[User | None, HttpResponse | None]:
        try:
            with transaction.atomic():
                user, response = super().try_save(request)
        except IntegrityError:
            self.account_already_exists = True
            user, response = super().try_save(request)
        return user, response


class SignUpForm(MakesAnAccount, InOurWords, account.SignupForm):
    """Whoever comes with an invitation signs up with the address that it was mailed to."""

    field_order = ["name", "email", "password1"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["password1"].label = LABELS["password"]
        invited = context.request.session.get("invited_email", "")
        if invited:
            self.initial["email"] = invited
            self.fields["email"].disabled = True
            self.fields["email"].help_text = _("Your invitation was sent to this address.")

    def try_save(self, request: HttpRequest) -> tuple[User | None, HttpResponse | None]:
        """A known address costs the work of a new one: the time must not tell which it was."""
        if self.account_already_exists:
            User().set_password(self.cleaned_data["password1"])
        user, response = super().try_save(request)
        return user, response


class ConnectedSignUpForm(MakesAnAccount, InOurWords, connected.SignupForm):
    field_order = ["name", "email"]


class AddAddressForm(InOurWords, account.AddEmailForm):
    pass


class ChangePasswordForm(InOurWords, account.ChangePasswordForm):
    pass


class SetPasswordForm(InOurWords, account.SetPasswordForm):
    pass


class ResetForm(InOurWords, account.ResetPasswordForm):
    pass


class ResetByLinkForm(InOurWords, account.ResetPasswordKeyForm):
    pass


class ConfirmForm(InOurWords, account.ReauthenticateForm):
    pass


class CodeForm(InOurWords, second_factor.AuthenticateForm):
    pass


class ConfirmWithCodeForm(InOurWords, second_factor.ReauthenticateForm):
    pass


class ConnectAppForm(InOurWords, totp.ActivateTOTPForm):
    pass
