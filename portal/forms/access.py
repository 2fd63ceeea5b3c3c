"""Switching somebody's access off, and resetting a lost second factor: each with a reason that stands in the record."""

from __future__ import annotations

from django import forms
from django.utils.translation import gettext_lazy as _

WORDS = forms.Textarea(attrs={"rows": 2})


class SwitchOffForm(forms.Form):
    reason = forms.CharField(
        label=_("Reason"),
        max_length=500,
        widget=WORDS,
        help_text=_("Stands in the record and in the mail to the person."),
        error_messages={"required": _("Say why: the person reads it.")},
    )


class ResetForm(forms.Form):
    reason = forms.CharField(
        label=_("How you know that it is this person who asks"),
        max_length=500,
        widget=WORDS,
        help_text=_("Called back under a known number, or seen with a passport. It stands in the record."),
        error_messages={"required": _("Say how you made sure: the next one who asks may be a thief.")},
    )
