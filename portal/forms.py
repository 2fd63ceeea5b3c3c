"""Logging in, and searching people."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth.forms import AuthenticationForm
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from portal.models import Role, log_in


class LogInForm(AuthenticationForm):
    """By e-mail and password. After ten wrong passwords for an account, this address waits a quarter of an hour."""

    error_messages = {
        "invalid_login": _(
            "E-mail address and password don't fit together. Check both; capital letters count in the password."
        ),
        "inactive": _(
            "E-mail address and password don't fit together. Check both; capital letters count in the password."
        ),
        "too_many": _("Too many wrong passwords. Wait 15 minutes, then try again."),
    }

    def clean(self) -> dict[str, Any]:
        account = str(self.cleaned_data.get("username", "")).lower()[:254]
        address = self.request.META.get("REMOTE_ADDR", "") if self.request else ""
        if log_in.too_many(address, account):
            raise ValidationError(self.error_messages["too_many"], code="too_many")
        try:
            return super().clean()
        except ValidationError:
            log_in.remember(address, account)
            raise


class PeopleSearch(forms.Form):
    """What the list of people is narrowed to; lives in the address."""

    q = forms.CharField(label=_("Name, e-mail, lab or institution"), required=False, max_length=200)
    role = forms.ChoiceField(label=_("Role"), required=False, choices=[("", _("any role")), *Role.choices])
