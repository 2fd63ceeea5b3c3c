"""Which month is closed, and what a record that could not be read was."""

from __future__ import annotations

from django import forms
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounting.periods import Month, parse_month


class CloseForm(forms.Form):
    month = forms.CharField(label=_("Month"), max_length=20)

    def clean_month(self) -> Month:
        try:
            return parse_month(self.cleaned_data["month"])
        except ValueError:
            raise forms.ValidationError(gettext("Give a month as year-month: 2026-03.")) from None


class LookedForm(forms.Form):
    note = forms.CharField(
        label=_("What it was"),
        max_length=500,
        help_text=_("For whoever meets the next one: where it came from, and what was done."),
    )


class ShownForm(forms.Form):
    """?show=all: those that somebody looked at, too."""

    show = forms.ChoiceField(
        label=_("Show"), required=False, choices=[("", _("not looked at")), ("all", _("all"))]
    )

    @property
    def shows_all(self) -> bool:
        return self.is_valid() and self.cleaned_data["show"] == "all"
