"""What staff answer to refunds, corrections and differences, and the prices they set."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, cast

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounting.forms.fields import DateInput, check_soon
from accounting.models import Correction, Partition, RefundProposal
from portal.models import User

APPROVE, DECLINE = "approve", "decline"
FACTOR = re.compile(r"[0-9]{1,4}(\.[0-9]{1,4})?\Z", re.ASCII)


class VerdictForm(forms.Form):
    """Yes or no, by the button that was pressed; a no says why."""

    verdict = forms.ChoiceField(
        choices=[(APPROVE, _("approve")), (DECLINE, _("decline"))],
        widget=forms.HiddenInput,
        error_messages={
            "required": _("Choose one of the two."),
            "invalid_choice": _("Choose one of the two."),
        },
    )
    reason = forms.CharField(
        label=_("Why"),
        max_length=500,
        required=False,
        help_text=_("Needed where you decline. It stands in the record."),
    )

    @property
    def approved(self) -> bool:
        return bool(self.cleaned_data["verdict"] == APPROVE)

    def clean(self) -> dict[str, Any]:
        data = self.cleaned_data
        if data.get("verdict") == DECLINE and not data.get("reason"):
            self.add_error("reason", gettext("Say why not."))
        return data


class RefundsForm(VerdictForm):
    """One answer to those refunds that were ticked, of the ones the page offers."""

    def __init__(self, data: Any = None, *, offered: Sequence[RefundProposal]) -> None:
        super().__init__(data)
        wanted = {*(data.getlist("refund") if data is not None else ())}
        self.ticked = [one for one in offered if str(one.pk) in wanted]

    def clean(self) -> dict[str, Any]:
        if not self.ticked:
            raise ValidationError(gettext("Tick at least one refund that waits for an answer."))
        return super().clean()


class CorrectionForm(VerdictForm):
    """Who proposed a correction can only take it back."""

    def __init__(self, data: Any = None, *, correction: Correction, by: User) -> None:
        super().__init__(data)
        self.is_mine = correction.proposed_by_id == by.pk
        if self.is_mine:
            cast("forms.ChoiceField", self.fields["verdict"]).choices = [(DECLINE, "")]


class CauseForm(forms.Form):
    cause = forms.CharField(
        label=_("Cause"),
        max_length=500,
        help_text=_("What made it differ, and what is done about it."),
        error_messages={"required": _("Say what made it differ.")},
    )


class PriceForm(forms.Form):
    """A new price of one partition from a day on."""

    partition = forms.ModelChoiceField(
        Partition.objects.none(),
        label=_("Partition"),
        to_field_name="name",
        empty_label=_("Choose a partition"),
        error_messages={
            "required": _("Choose a partition."),
            "invalid_choice": _("Choose a partition of this cluster."),
        },
    )
    factor = forms.CharField(
        label=_("Charge factor"),
        max_length=20,
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"}),
        help_text=_("GPU-hours charged for one hour of one GPU. 0: it is free."),
        error_messages={"required": _("Type the factor, such as 1 or 0.5.")},
    )
    valid_from = forms.DateField(
        label=_("From"),
        widget=DateInput(),
        help_text=_("From 0:00 UTC of that day on. Runs that start earlier keep their price."),
        error_messages={"required": _("Choose a day."), "invalid": _("Choose a day that exists.")},
    )

    def __init__(self, data: Any = None, *, partitions: Any) -> None:
        super().__init__(data)
        cast("forms.ModelChoiceField[Partition]", self.fields["partition"]).queryset = partitions

    def clean_factor(self) -> Decimal:
        text = self.cleaned_data["factor"]
        if not FACTOR.match(text):
            raise ValidationError(
                gettext("Type a number from 0 to 9999 with at most four decimals, such as 0.5.")
            )
        return Decimal(text)

    def clean_valid_from(self) -> datetime:
        day: date = self.cleaned_data["valid_from"]
        if day <= timezone.now().astimezone(UTC).date():
            raise ValidationError(
                gettext("This day has begun. What has run keeps its price: choose a day to come.")
            )
        return datetime.combine(check_soon(day), time.min, tzinfo=UTC)
