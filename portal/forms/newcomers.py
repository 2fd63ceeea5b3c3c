"""Who a newcomer is."""

from __future__ import annotations

import unicodedata

from django import forms
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

from portal.models import User
from portal.models.audit import record

NO_NAME = {"Cc", "Cf", "Cs", "Co"}  # control, bidirectional and private characters


class NewcomerForm(forms.Form):
    """What everybody who signs up tells, with a password or with a connected log-in. allauth builds its forms on this one."""

    name = forms.CharField(
        label=_("Your name"), max_length=150, widget=forms.TextInput(attrs={"autocomplete": "name"})
    )

    def clean_name(self) -> str:
        name = " ".join(self.cleaned_data["name"].split())
        if any(unicodedata.category(char) in NO_NAME for char in name):
            raise ValidationError(_("Use letters, spaces and dots only."))
        return name

    def signup(self, request: HttpRequest, user: User) -> None:
        user.name, user.language = self.cleaned_data["name"], get_language() or ""
        user.save(update_fields=["name", "language"])
        record("account made", user, by=user)
