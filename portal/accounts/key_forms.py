"""Security keys: what a browser hands on as a key's answer can be anything, and must never be a mistake of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from allauth.mfa.adapter import get_adapter
from allauth.mfa.models import Authenticator
from allauth.mfa.webauthn.forms import AddWebAuthnForm, AuthenticateWebAuthnForm
from cryptography.exceptions import InvalidSignature
from django import forms
from django.utils.translation import gettext_lazy as _

# What fido2 and allauth's reading of JSON raise for a forged, cut or senseless answer.
BROKEN = (
    AssertionError, AttributeError, IndexError, InvalidSignature, KeyError, RecursionError, TypeError, ValueError,
)  # fmt: skip


@contextmanager
def _understood() -> Iterator[None]:
    """A sentence about keys for whatever is wrong with an answer; allauth has one about codes for it."""
    try:
        yield
    except BROKEN:
        raise get_adapter().validation_error("wrong_key") from None
    except forms.ValidationError as error:
        raise (
            get_adapter().validation_error("wrong_key") if error.code == "incorrect_code" else error
        ) from None


class AnswerField(forms.JSONField):
    def to_python(self, value: Any) -> Any:
        with _understood():
            return super().to_python(value)

    def prepare_value(self, value: Any) -> str:
        """An answer counts once: it is never shown again."""
        return ""

    def bound_data(self, data: Any, initial: Any) -> str:
        return ""


class AddKeyForm(AddWebAuthnForm):
    name = forms.CharField(label=_("Name of the key"), required=False, max_length=100)
    credential = AnswerField(widget=forms.HiddenInput)

    def clean(self) -> dict[str, Any]:
        with _understood():
            cleaned: dict[str, Any] = super().clean()
        return cleaned


class UseKeyForm(AuthenticateWebAuthnForm):
    credential = AnswerField(widget=forms.HiddenInput)

    def clean_credential(self) -> Authenticator:
        with _understood():
            return super().clean_credential()


class ConfirmWithKeyForm(UseKeyForm):
    reauthenticated = True
