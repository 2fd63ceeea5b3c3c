"""What staff type to look after the clusters: a maintenance, and why a job is given up."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

MINUTES = "%Y-%m-%dT%H:%M"  # as browsers send it


def moment_field(**options: Any) -> forms.DateTimeField:
    return forms.DateTimeField(
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format=MINUTES),
        input_formats=[MINUTES, "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M"],
        error_messages={"invalid": _("Give a day and a time, such as 2026-11-24 14:00.")},
        **options,
    )


class MaintenanceForm(forms.Form):
    """Times are in the zone that the site shows."""

    begins_at = moment_field(label=_("From"))
    until = moment_field(label=_("Until"))
    sentence = forms.CharField(
        label=_("Sentence for the members"),
        max_length=300,
        help_text=_("What is done, in one sentence. It stands above their jobs and where they submit."),
        error_messages={"required": _("Say what is done, so that nobody has to ask.")},
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        zone = {"zone": timezone.get_current_timezone_name()}
        self.fields["begins_at"].help_text = (
            _("In the zone %(zone)s. A time that is over: it begins at once.") % zone
        )
        self.fields["until"].help_text = _("In the zone %(zone)s.") % zone


class GiveUpForm(forms.Form):
    reason = forms.CharField(
        label=_("Reason"),
        max_length=300,
        help_text=_("The person who submitted it reads it, by mail and on the job's page."),
        error_messages={"required": _("Say why, so that they know what to do.")},
    )
