"""What people type about GPU-hours, checked, with a sentence at the field. Inside, amounts are GPU-seconds."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounting.models import AllocationRequest, Cluster
from accounting.periods import LONGEST, Month, Period, last_twelve, parse_month
from accounting.units import MAX_GPU_SECONDS, SECONDS_PER_HOUR, from_hours, hours
from portal.words import figure

GROUPED = re.compile(r"[0-9]{1,3}([ \u00a0\u202f][0-9]{3})+(?![0-9])", re.ASCII)  # as the portal writes them
AMOUNT = re.compile(r"[0-9]{1,15}(\.[0-9]{1,6})?\Z", re.ASCII)
YEARS_AHEAD = 5


def parse_gpu_hours(text: str) -> int:
    """ "1500.5" → GPU-seconds. Raises ValidationError with a sentence that says what to type."""
    text = GROUPED.sub(lambda found: re.sub(r"[ \u00a0\u202f]", "", found[0]), text.strip())
    if re.match(r"[-\u2212+]", text):
        raise ValidationError(gettext("Type how many hours without a sign: an amount above zero."))
    if re.fullmatch(r"[0-9]+", text, re.ASCII) and len(text) > 15:
        raise ValidationError(_too_many())
    if not AMOUNT.match(text):
        raise ValidationError(gettext("Type the hours in digits, such as 4000 or 1500.5."))
    gpu_seconds = from_hours(Decimal(text))
    if gpu_seconds <= 0:
        raise ValidationError(gettext("Type an amount above zero."))
    if gpu_seconds > MAX_GPU_SECONDS:
        raise ValidationError(_too_many())
    return gpu_seconds


def _too_many() -> str:
    most = figure(MAX_GPU_SECONDS // SECONDS_PER_HOUR)
    return gettext("That is more than any cluster has. The most is %(most)s GPU-hours.") % {"most": most}


def check_award(asked: AllocationRequest, gpu_seconds: int) -> None:
    """Nobody grants more than was asked for: it would be a slip of the key."""
    if gpu_seconds > asked.gpu_seconds_asked:
        most = figure(hours(asked.gpu_seconds_asked))
        raise ValidationError(
            gettext("The lab asked for %(most)s GPU-hours. Grant at most that many.") % {"most": most}
        )


def typed_hours(gpu_seconds: int) -> str:
    """GPU-seconds as one would type them: "4000", "1500.5"."""
    return f"{hours(gpu_seconds).normalize():f}"


class GpuHoursField(forms.CharField):
    """A text field, so that what was typed stands there again; its cleaned value is GPU-seconds."""

    widget = forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"})

    def clean(self, value: Any) -> Any:
        return parse_gpu_hours(super().clean(value))


class DateInput(forms.DateInput):
    input_type = "date"

    def __init__(self) -> None:
        super().__init__(format="%Y-%m-%d")


class RequestForm(forms.Form):
    """A wish for GPU-hours. The same for a new request and for changing one."""

    cluster = forms.ModelChoiceField(
        label=_("Cluster"),
        queryset=Cluster.objects.filter(accepts_jobs=True),
        empty_label=None,
        error_messages={"invalid_choice": _("Choose one of the clusters.")},
    )
    gpu_hours = GpuHoursField(
        label=_("GPU-hours"),
        help_text=_("One GPU for one hour is one GPU-hour: 8 GPUs for 10 hours are 80."),
        error_messages={"required": _("Type how many GPU-hours the project needs.")},
    )
    start = forms.DateField(
        label=_("From"),
        input_formats=["%Y-%m-%d"],
        widget=DateInput(),
        error_messages={"invalid": _("Give a date that exists, as year-month-day: 2026-03-31.")},
    )
    end = forms.DateField(
        label=_("Until"),
        input_formats=["%Y-%m-%d"],
        widget=DateInput(),
        help_text=_("The last day on which the hours can be used."),
        error_messages={"invalid": _("Give a date that exists, as year-month-day: 2026-03-31.")},
    )
    justification = forms.CharField(
        label=_("What the hours are for"),
        max_length=10_000,
        widget=forms.Textarea(attrs={"rows": 8}),
        help_text=_("What will run, how many runs of how many GPUs and hours, and why that many."),
        error_messages={"required": _("Say what the hours are for: the centre decides by it.")},
    )

    def clean_start(self) -> date:
        return check_start(self.cleaned_data["start"])

    def clean_end(self) -> date:
        return check_soon(self.cleaned_data["end"])

    def clean(self) -> dict[str, Any]:
        start, end = self.cleaned_data.get("start"), self.cleaned_data.get("end")
        if start and end and end < start:
            self.add_error("end", gettext("The last day is before the first one."))
        return self.cleaned_data

    @property
    def deed(self) -> dict[str, Any]:
        """The keywords of `actions.request_hours` and `actions.change_request`."""
        names = ("cluster", "start", "end", "justification")
        return {"gpu_seconds": self.cleaned_data["gpu_hours"]} | {
            name: self.cleaned_data[name] for name in names
        }


def check_start(day: date) -> date:
    if day < timezone.now().date():
        raise ValidationError(gettext("This day is over. Start today or later."))
    return check_soon(day)


def check_soon(day: date) -> date:
    latest = timezone.now().year + YEARS_AHEAD
    if day.year > latest:
        raise ValidationError(
            gettext("That is too far away: choose a day up to the year %(year)s.") % {"year": latest}
        )
    return day


def of_request(request: AllocationRequest) -> dict[str, Any]:
    """The form's initial values for changing `request`."""
    return {
        "cluster": request.cluster_id,
        "gpu_hours": typed_hours(request.gpu_seconds_asked),
        "start": request.start,
        "end": request.end,
        "justification": request.justification,
    }


class DecisionForm(forms.Form):
    """What the centre says to a request. The pressed button is the verdict; each asks for what it needs."""

    APPROVE, RETURN, REJECT = "approve", "return", "reject"

    verdict = forms.ChoiceField(
        choices=[(APPROVE, _("approve")), (RETURN, _("return for changes")), (REJECT, _("reject"))],
        widget=forms.HiddenInput,
        error_messages={
            "required": _("Press one of the buttons."),
            "invalid_choice": _("Press one of the buttons."),
        },
    )
    gpu_hours = forms.CharField(
        label=_("GPU-hours to grant"),
        error_messages={"required": _("Type how many GPU-hours to grant.")},
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"}),
        help_text=_("Fewer than asked is a grant in part."),
    )
    comment = forms.CharField(
        label=_("Comment to the lab"),
        required=False,
        max_length=5000,
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text=_("Needed to return or reject."),
    )

    def __init__(self, data: Any = None, *, asked: AllocationRequest) -> None:
        self.asked = asked
        super().__init__(data, initial={"gpu_hours": typed_hours(asked.gpu_seconds_asked)})
        self.fields["gpu_hours"].required = (data or {}).get("verdict", self.APPROVE) == self.APPROVE

    def clean(self) -> dict[str, Any]:
        verdict = self.cleaned_data.get("verdict")
        if verdict == self.APPROVE and "gpu_hours" in self.cleaned_data:
            self._clean_hours()
        elif verdict == self.RETURN and not self.cleaned_data.get("comment"):
            self.add_error("comment", gettext("Say what the lab should change."))
        elif verdict == self.REJECT and not self.cleaned_data.get("comment"):
            self.add_error("comment", gettext("Say why, so that the lab understands."))
        return self.cleaned_data

    def _clean_hours(self) -> None:
        try:
            gpu_seconds = parse_gpu_hours(self.cleaned_data["gpu_hours"])
            check_award(self.asked, gpu_seconds)
            self.cleaned_data["gpu_seconds"] = gpu_seconds
        except ValidationError as error:
            self.add_error("gpu_hours", error)


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


class QueueFilter(forms.Form):
    WAITING, WITH_LAB, DECIDED = "waiting", "with-lab", "decided"
    CHOICES = (
        (WAITING, _("Waiting for the centre")),
        (WITH_LAB, _("Returned to the lab")),
        (DECIDED, _("Decided")),
    )
    show = forms.ChoiceField(required=False, choices=CHOICES)


class ProjectSearch(forms.Form):
    """What the list of projects is narrowed to; lives in the address."""

    q = forms.CharField(label=_("Title, lab or institution"), required=False, max_length=200)
