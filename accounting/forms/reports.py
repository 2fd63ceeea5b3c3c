"""Which part of the usage a report shows."""

from __future__ import annotations

from datetime import date
from typing import Any

from django import forms
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounting.periods import LONGEST, Month, Period, last_twelve, parse_month


class PeriodForm(forms.Form):
    """?from=2026-01&to=2026-06. Without either, the last twelve months."""

    def __init__(self, data: Any, *, today: date) -> None:
        self.today = today
        usual = last_twelve(today)
        given = {"from": data.get("from") or str(usual.first), "to": data.get("to") or str(usual.last)}
        super().__init__(given)
        for name, label in (("from", _("From")), ("to", _("To"))):
            self.fields[name] = forms.CharField(
                label=label, max_length=20, widget=forms.TextInput(attrs={"type": "month"})
            )

    def clean(self) -> dict[str, Any]:
        months = {name: self._month(name) for name in ("from", "to")}
        first, last = months["from"], months["to"]
        if first and last and last < first:
            self.add_error("to", gettext("The last month is before the first one."))
        elif first and last and Period(first, last).length > LONGEST:
            self.add_error("to", gettext("Choose at most %(most)s months.") % {"most": LONGEST})
        elif first and last:
            self.cleaned_data["period"] = Period(first, last)
        return self.cleaned_data

    def _month(self, name: str) -> Month | None:
        try:
            return parse_month(self.cleaned_data.get(name, ""))
        except ValueError:
            self.add_error(name, gettext("Give a month as year-month: 2026-03."))
            return None

    @property
    def period(self) -> Period:
        """What was asked for, or the usual one where that can't be."""
        if not self.is_valid():
            return last_twelve(self.today)
        asked: Period = self.cleaned_data["period"]
        return asked
