"""Handing over hours: to whom, how many, and what the receiver says."""

from __future__ import annotations

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounting import ledger
from accounting.models import Allocation
from accounting.units import hours
from portal.models import Project
from portal.words import figure


def receiver(project: Project, slug: str) -> Project:
    """To whom `project` can hand over hours, by its short name. Raises ValidationError."""
    same = Project.objects.active().filter(funder=project.funder_id, funder__isnull=False)
    found = same.filter(slug=slug).exclude(pk=project.pk).select_related("lab").first()
    if found is None:
        raise ValidationError(
            gettext("There is no other active project of the same funder with this short name.")
        )
    return found


def check_left(allocation: Allocation, gpu_seconds: int) -> None:
    """Nobody hands over more than is there. Raises ValidationError."""
    left = ledger.balance(allocation).available
    if gpu_seconds > left:
        raise ValidationError(
            gettext("The allocation has %(left)s GPU-hours left. Hand over at most that many.")
            % {"left": figure(hours(max(left, 0)))}
        )


class AnswerForm(forms.Form):
    """What the receiver of a transfer says. The pressed button is the answer."""

    AGREE, DECLINE = "agree", "decline"

    answer = forms.ChoiceField(
        choices=[(AGREE, _("agree")), (DECLINE, _("decline"))],
        widget=forms.HiddenInput,
        error_messages={
            "required": _("Press one of the buttons."),
            "invalid_choice": _("Press one of the buttons."),
        },
    )
    reason = forms.CharField(
        label=_("A word to the lab that offers the hours"),
        required=False,
        max_length=500,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text=_("Sent to it if you decline."),
    )
