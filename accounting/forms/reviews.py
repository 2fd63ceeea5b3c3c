"""What the centre says to a request, as typed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.forms.boundfield import BoundField
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounting.actions.reviews import Portion
from accounting.forms.awards import (
    MOST_TRANCHES,
    check_award,
    check_new_end,
    check_tranches,
    grants_hours,
    in_tranches,
    takes_end,
)
from accounting.forms.fields import DateInput, parse_gpu_hours, typed_hours
from accounting.models import COMMENTABLE, AllocationRequest

ROWS = range(1, MOST_TRANCHES + 1)


def hours_input() -> forms.TextInput:
    return forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"})


def day_field(**options: Any) -> forms.DateField:
    return forms.DateField(
        input_formats=["%Y-%m-%d"],
        widget=DateInput(),
        error_messages={"invalid": _("Give a date that exists, as year-month-day: 2026-03-31.")},
        **options,
    )


class DecisionForm(forms.Form):
    """What the centre says to a request. The pressed button is the verdict; each asks for what it needs.

    Besides the fields below: `tranche_day_1`, `tranche_hours_1` … and `on_title`, `on_abstract` …, a comment beside
    each field that can be commented on.
    """

    APPROVE, RETURN, REJECT, AGREE, OBJECT = "approve", "return", "reject", "agree", "object"

    verdict = forms.ChoiceField(
        choices=[(name, name) for name in (APPROVE, RETURN, REJECT, AGREE, OBJECT)],
        widget=forms.HiddenInput,
        error_messages={
            "required": _("Press one of the buttons."),
            "invalid_choice": _("Press one of the buttons."),
        },
    )
    # What the person has read: when it was sent, and which first approval.
    sent = forms.CharField(required=False, max_length=40, widget=forms.HiddenInput)
    endorsement = forms.CharField(required=False, max_length=20, widget=forms.HiddenInput)
    gpu_hours = forms.CharField(
        label=_("GPU-hours to grant"),
        error_messages={"required": _("Type how many GPU-hours to grant.")},
        widget=hours_input(),
        help_text=_("Fewer than asked is a grant in part."),
    )
    end = day_field(label=_("New last day"), required=False)
    conditions = forms.CharField(
        label=_("Conditions"),
        required=False,
        max_length=5000,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text=_("They stand in the award letter."),
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
        endorsement = asked.endorsement
        initial = {
            "gpu_hours": typed_hours(asked.gpu_seconds_asked),
            "end": asked.end,
            "sent": asked.submitted_at.isoformat() if asked.submitted_at else "",
            "endorsement": endorsement.pk if endorsement else "",
        }
        super().__init__(data, initial=initial)
        if endorsement:
            self.fields["comment"].label = gettext("Comment")
            self.fields["comment"].help_text = gettext(
                "Needed to object, return or reject. The lab doesn't read an objection."
            )
        approves = (data or {}).get("verdict", self.APPROVE) == self.APPROVE
        self.fields["gpu_hours"].required = approves and grants_hours(asked)
        for row in ROWS:
            self.fields[f"tranche_day_{row}"] = day_field(label=_("From"), required=False)
            self.fields[f"tranche_hours_{row}"] = forms.CharField(
                label=_("GPU-hours"), required=False, widget=hours_input()
            )
        for name, label in COMMENTABLE:
            self.fields[f"on_{name}"] = forms.CharField(
                label=str(label), required=False, max_length=2000, widget=forms.Textarea(attrs={"rows": 1})
            )

    def clean(self) -> dict[str, Any]:
        comment = self.cleaned_data.get("comment")
        match self.cleaned_data.get("verdict"):
            case self.APPROVE:
                self._clean_award()
            case self.RETURN if not comment and not self.field_comments:
                self.add_error("comment", gettext("Say what the lab should change."))
            case self.REJECT if not comment:
                self.add_error("comment", gettext("Say why, so that the lab understands."))
            case self.OBJECT if not comment:
                self.add_error("comment", gettext("Say why, so that your colleague understands."))
        return self.cleaned_data

    @property
    def award(self) -> dict[str, Any]:
        """Of a clean form: the keywords of `actions.reviews.approve_request`."""
        names = ("gpu_seconds", "tranches", "end", "conditions", "comment")
        return {name: self.cleaned_data[name] for name in names}

    @property
    def field_comments(self) -> dict[str, str]:
        return {
            name: self.cleaned_data[f"on_{name}"]
            for name, _label in COMMENTABLE
            if self.cleaned_data.get(f"on_{name}")
        }

    @property
    def is_of_latest(self) -> bool:
        """Whether what was read is what was sent last."""
        read = self.cleaned_data["sent"]
        return not read or read == self.initial["sent"]

    @property
    def grants_hours(self) -> bool:
        return grants_hours(self.asked)

    @property
    def has_tranches(self) -> bool:
        return in_tranches(self.asked)

    def tranche_rows(self) -> Iterator[tuple[BoundField, BoundField]]:
        for row in ROWS:
            yield self[f"tranche_day_{row}"], self[f"tranche_hours_{row}"]

    def comment_fields(self) -> Iterator[BoundField]:
        for name, _label in COMMENTABLE:
            yield self[f"on_{name}"]

    def is_split(self) -> bool:
        """Whether tranches were typed: then they are shown open."""
        return any(field.value() for row in self.tranche_rows() for field in row)

    def is_commented(self) -> bool:
        return any(field.value() for field in self.comment_fields())

    def _clean_award(self) -> None:
        data = self.cleaned_data
        data["gpu_seconds"] = self._hours("gpu_hours") if grants_hours(self.asked) else 0
        if data["gpu_seconds"]:
            self._checked("gpu_hours", check_award, data["gpu_seconds"])
        data["end"] = self._new_end(data.get("end"))
        data["tranches"] = self._tranches() if in_tranches(self.asked) else ()
        if data["gpu_seconds"] and not self.errors:
            self._checked("tranche_hours_1", check_tranches, data["gpu_seconds"], data["tranches"])

    def _new_end(self, end: date | None) -> date | None:
        """The day, where it is another than was asked."""
        if not takes_end(self.asked) or end is None or end == self.asked.end:
            return None
        self._checked("end", check_new_end, end)
        return end

    def _tranches(self) -> tuple[Portion, ...]:
        rows = []
        for row in ROWS:
            day, typed = (
                self.cleaned_data.get(f"tranche_day_{row}"),
                self.cleaned_data.get(f"tranche_hours_{row}"),
            )
            if not day and not typed:
                continue
            gpu_seconds = self._hours(f"tranche_hours_{row}")
            if not day and f"tranche_day_{row}" not in self.errors:
                self.add_error(
                    f"tranche_day_{row}", gettext("Say from which day on these hours can be used.")
                )
            if day and gpu_seconds:
                rows.append(Portion(day, gpu_seconds))
        return tuple(rows)

    def _hours(self, name: str) -> int:
        """GPU-seconds of what was typed there; 0 with a sentence at the field where it is no amount."""
        if name in self.errors:
            return 0
        try:
            return parse_gpu_hours(self.cleaned_data.get(name, ""))
        except ValidationError as error:
            self.add_error(name, error)
            return 0

    def _checked(self, name: str, check: Any, *given: Any) -> None:
        try:
            check(self.asked, *given)
        except ValidationError as error:
            self.add_error(name, error)
