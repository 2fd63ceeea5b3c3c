"""Searching people."""

from __future__ import annotations

from django import forms
from django.utils.translation import gettext_lazy as _

from portal.models import Role


class PeopleSearch(forms.Form):
    """What the list of people is narrowed to; lives in the address."""

    q = forms.CharField(label=_("Name, e-mail, lab or institution"), required=False, max_length=200)
    role = forms.ChoiceField(label=_("Role"), required=False, choices=[("", _("any role")), *Role.choices])
