"""A cluster's rules, as typed: hours, days and percent."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounting.forms.fields import DigitsField, OptionalDigitsField, OptionalGpuHoursField, typed_hours
from accounting.models import Policy


class PolicyForm(forms.Form):
    grant_at_once_up_to = OptionalGpuHoursField(
        label=_("Grant at once up to"),
        required=False,
        help_text=_(
            "New requests and supplements up to this are granted as they are sent, as long as what a project got at once in a year stays below it. Empty: none is."
        ),
    )
    two_approvers_above = OptionalGpuHoursField(
        label=_("Two approvers above"),
        required=False,
        help_text=_("Awards above this need a second person, who is an approver. Empty: none does."),
    )
    second_person_above = OptionalGpuHoursField(
        label=_("Corrections by two above"),
        required=False,
        help_text=_(
            "Corrections of a balance by hand above this, those of 30 days together, need a second person. Empty: none does."
        ),
    )
    grace_days = DigitsField(
        label=_("Grace"),
        most=366,
        help_text=_(
            "So many days after the last one, what is left can still be used. For allocations from now on."
        ),
    )
    carry_over_percent = DigitsField(
        label=_("Carry over"),
        most=100,
        help_text=_("So much of what an allocation was granted may go, unused, to its renewal."),
    )
    checkpoint_percent = DigitsField(
        label=_("Checkpoint after"),
        most=100,
        help_text=_(
            "Use it or lose it: when so much of the days is gone, unused hours may expire. 0: no checkpoint."
        ),
    )
    checkpoint_used_percent = DigitsField(
        label=_("Used by the checkpoint"),
        most=100,
        help_text=_("What is missing then to having used so much of the grant expires."),
    )
    close_months_after_days = OptionalDigitsField(
        label=_("Close a month after"),
        required=False,
        most=366,
        help_text=_(
            "So many days after its last one, a month's figures become final by themselves, if its records were read to the end. Empty: staff close months by hand."
        ),
    )
    report_before_renewal = forms.BooleanField(
        label=_("A renewal needs a progress report on the allocation before"), required=False
    )

    def clean(self) -> dict[str, Any]:
        data = self.cleaned_data
        if data.get("checkpoint_used_percent") and data.get("checkpoint_percent") == 0:
            self.add_error(
                "checkpoint_percent", gettext("Say after how much of the days, or require nothing by then.")
            )
        return data

    @property
    def deed(self) -> dict[str, Any]:
        """The keywords of `actions.policies.set_policy`."""
        return self.cleaned_data | {"grant_at_once_up_to": self.cleaned_data["grant_at_once_up_to"] or 0}


def of_policy(policy: Policy) -> dict[str, Any]:
    """The form's initial values."""
    amounts = ("grant_at_once_up_to", "two_approvers_above", "second_person_above")
    values = {name: getattr(policy, name) for name in PolicyForm.base_fields}
    return values | {name: "" if values[name] is None else typed_hours(values[name]) for name in amounts}
