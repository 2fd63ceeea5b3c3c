"""What the list of projects is narrowed to."""

from __future__ import annotations

from django import forms
from django.utils.translation import gettext_lazy as _


class ProjectSearch(forms.Form):
    """What the list of projects is narrowed to; lives in the address."""

    q = forms.CharField(label=_("Title, lab or institution"), required=False, max_length=200)
