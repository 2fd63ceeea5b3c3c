"""A call for requests, as typed."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounting.forms.fields import OptionalGpuHoursField, check_soon, typed_hours
from accounting.forms.reviews import day_field
from accounting.models import Call, Cluster

EARLIEST = 2000


class CallForm(forms.Form):
    """Days are whole: a call opens as its first day begins, and closes as its last one ends."""

    title = forms.CharField(
        label=_("Title"), max_length=200, error_messages={"required": _("Give the call a title.")}
    )
    text = forms.CharField(
        label=_("What it is for"),
        max_length=10_000,
        widget=forms.Textarea(attrs={"rows": 6}),
        help_text=_("Who should ask, for what, and how requests are chosen."),
        error_messages={"required": _("Say what the call is for.")},
    )
    cluster = forms.ModelChoiceField(
        label=_("Cluster"),
        queryset=Cluster.objects.filter(accepts_jobs=True),
        empty_label=None,
        error_messages={"invalid_choice": _("Choose one of the clusters.")},
    )
    gpu_hours = OptionalGpuHoursField(
        label=_("GPU-hours to give out"),
        required=False,
        help_text=_("The queue shows what was asked against it. Empty: not said."),
    )
    opens_on = day_field(label=_("First day"))
    closes_on = day_field(label=_("Last day"), help_text=_("Requests are taken until this day ends."))

    def clean(self) -> dict[str, Any]:
        first, last = self.cleaned_data.get("opens_on"), self.cleaned_data.get("closes_on")
        if first and last and last < first:
            self.add_error("closes_on", gettext("The last day is before the first one."))
        return self.cleaned_data

    def clean_opens_on(self) -> date:
        day: date = self.cleaned_data["opens_on"]
        if day.year < EARLIEST:
            raise ValidationError(gettext("That is too long ago."))
        return day

    def clean_closes_on(self) -> date:
        return check_soon(self.cleaned_data["closes_on"])

    @property
    def deed(self) -> dict[str, Any]:
        """The keywords of `actions.calls.make_call` and `change_call`."""
        data = self.cleaned_data
        return {
            "title": data["title"],
            "text": data["text"],
            "cluster": data["cluster"],
            "gpu_seconds": data["gpu_hours"],
            "opens_at": _midnight(data["opens_on"]),
            "closes_at": _midnight(data["closes_on"] + timedelta(days=1)),
        }


def of_call(call: Call) -> dict[str, Any]:
    """The form's initial values for changing `call`."""
    last = timezone.localtime(call.closes_at) - timedelta(microseconds=1)
    return {
        "title": call.title,
        "text": call.text,
        "cluster": call.cluster_id,
        "gpu_hours": "" if call.gpu_seconds is None else typed_hours(call.gpu_seconds),
        "opens_on": timezone.localtime(call.opens_at).date(),
        "closes_on": last.date(),
    }


def _midnight(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time.min))
