"""What people type about GPU-hours and days, checked, with a sentence at the field. Inside, amounts are GPU-seconds."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import gettext

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


def typed_hours(gpu_seconds: int) -> str:
    """GPU-seconds as one would type them: "4000", "1500.5"."""
    return f"{hours(gpu_seconds).normalize():f}"


class GpuHoursField(forms.CharField):
    """A text field, so that what was typed stands there again; its cleaned value is GPU-seconds, 0 where it may be empty."""

    widget = forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"})

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        return parse_gpu_hours(text) if text.strip() else 0


class OptionalGpuHoursField(GpuHoursField):
    """Empty is None: no limit, or not said. 0 is an amount here."""

    def clean(self, value: Any) -> Any:
        text = str(value or "").strip()
        if text == "0":
            return 0
        return super().clean(value) if text else None


class DigitsField(forms.CharField):
    """A whole number from 0 to `most` in plain digits; `1_0` and full-width digits are none."""

    widget = forms.TextInput(attrs={"inputmode": "numeric", "autocomplete": "off"})

    def __init__(self, *, most: int, **options: Any) -> None:
        self.most = most
        super().__init__(**options)

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII) or int(text) > self.most:
            raise ValidationError(
                gettext("Type a whole number from 0 to %(most)s.") % {"most": figure(self.most)}
            )
        return int(text)


class OptionalDigitsField(DigitsField):
    """Empty is None."""

    def clean(self, value: Any) -> Any:
        return super().clean(value) if str(value or "").strip() else None


class DateInput(forms.DateInput):
    input_type = "date"

    def __init__(self) -> None:
        super().__init__(format="%Y-%m-%d")


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
