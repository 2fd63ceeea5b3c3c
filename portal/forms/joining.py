"""Asking to join a lab."""

from __future__ import annotations

from django import forms
from django.utils.translation import gettext_lazy as _


class JoinForm(forms.Form):
    message = forms.CharField(
        label=_("Message to the PI"),
        required=False,
        max_length=2000,
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text=_("Who you are, and what you would work on."),
    )


class LabSearch(forms.Form):
    """What a list of labs or institutions is narrowed to; lives in the address."""

    q = forms.CharField(label=_("Name"), required=False, max_length=200)
