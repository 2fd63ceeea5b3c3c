"""Asking a colleague for a technical review, and writing one, as typed."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Any

from django import forms
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounting.forms.fields import check_start
from accounting.forms.reviews import day_field
from portal.forms.selects import PlainSelect
from portal.models import User

USUAL_DAYS = 7
SCORES = (
    (5, _("5: excellent")),
    (4, _("4: good")),
    (3, _("3: sound")),
    (2, _("2: weak")),
    (1, _("1: not sound")),
)


class AskReviewForm(forms.Form):
    reviewer = forms.TypedChoiceField(
        label=_("Colleague"),
        coerce=int,
        widget=PlainSelect,
        error_messages={
            "required": _("Choose a colleague."),
            "invalid_choice": _("Choose one of the colleagues."),
        },
    )
    due = day_field(label=_("Until"))

    def __init__(self, data: Any = None, *, colleagues: Iterable[User]) -> None:
        self.colleagues = {person.pk: person for person in colleagues}
        usual = timezone.now().date() + timedelta(days=USUAL_DAYS)
        super().__init__(data, initial={"due": usual}, prefix=None)
        field: Any = self.fields["reviewer"]
        field.choices = [("", _("choose")), *((pk, str(person)) for pk, person in self.colleagues.items())]

    def clean_due(self) -> date:
        return check_start(self.cleaned_data["due"])

    @property
    def deed(self) -> dict[str, Any]:
        """The keywords of `actions.technical_reviews.ask_for_review`."""
        return {
            "reviewer": self.colleagues[self.cleaned_data["reviewer"]],
            "due": self.cleaned_data["due"],
        }


class WriteReviewForm(forms.Form):
    has_no_conflict = forms.BooleanField(
        label=_("I have no conflict of interest: no work, funding or family in common with this lab"),
        error_messages={
            "required": _("Declare that you have no conflict of interest, or say that you have one.")
        },
    )
    score = forms.TypedChoiceField(
        label=_("Score"),
        coerce=int,
        choices=[("", _("choose")), *SCORES],
        error_messages={
            "required": _("Choose a score from 1 to 5."),
            "invalid_choice": _("Choose a score from 1 to 5."),
        },
    )
    review = forms.CharField(
        label=_("Review"),
        max_length=10_000,
        widget=forms.Textarea(attrs={"rows": 5}),
        help_text=_(
            "Is the method sound, does the software run here, are the hours plausible? The lab never reads this."
        ),
        error_messages={"required": _("Say what the score stands on.")},
    )
