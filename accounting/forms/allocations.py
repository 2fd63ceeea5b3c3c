"""What people type about an allocation: caps, a progress report, why it is suspended or corrected."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.forms.utils import flatatt
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounting.forms.fields import GpuHoursField, parse_gpu_hours, typed_hours
from accounting.models import PersonCap, Publication
from portal.models import User

DOI = re.compile(r"10\.[0-9]{4,9}/[!-~]{1,180}\Z", re.ASCII)
DOI_BEFORE = re.compile(r"(https?://(dx\.)?doi\.org/|doi:\s*)", re.ASCII | re.IGNORECASE)
FIRST_YEAR = 1900


class SuspensionForm(forms.Form):
    reason = forms.CharField(
        label=_("Reason"),
        max_length=500,
        help_text=_("The lab reads it: by mail, on this page, and whenever somebody tries to submit a job."),
        error_messages={"required": _("Say why, so that the lab knows what to do.")},
    )


class AdjustForm(forms.Form):
    """A correction of the balance, with its reason."""

    ADD, TAKE = "add", "take"

    direction = forms.ChoiceField(
        label=_("What to do"),
        choices=[(ADD, _("add hours")), (TAKE, _("take hours off"))],
        initial=ADD,
        widget=forms.RadioSelect,
        error_messages={
            "required": _("Choose one of the two."),
            "invalid_choice": _("Choose one of the two."),
        },
    )
    gpu_hours = GpuHoursField(
        label=_("GPU-hours"), error_messages={"required": _("Type how many GPU-hours.")}
    )
    reason = forms.CharField(
        label=_("Reason"),
        max_length=500,
        help_text=_("It stands in the statement, which the lab reads."),
        error_messages={"required": _("Say why: a correction needs a reason.")},
    )

    @property
    def deed(self) -> dict[str, Any]:
        """The keywords of `actions.allocations.adjust`."""
        sign = 1 if self.cleaned_data["direction"] == self.ADD else -1
        return {"gpu_seconds": sign * self.cleaned_data["gpu_hours"], "reason": self.cleaned_data["reason"]}


class PlainInput(forms.TextInput):
    """Written at once: there is one for each of a page's people, and Django renders four templates for each."""

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        text = self.format_value(value)
        dress = {"type": self.input_type, "name": name, "value": text, **self.build_attrs(self.attrs, attrs)}
        return format_html("<input{}>", flatatt(dress))


class CapField(GpuHoursField):
    """Hours, 0 for none at all, empty for no cap."""

    widget = PlainInput(attrs={"inputmode": "decimal", "autocomplete": "off"})

    def clean(self, value: Any) -> Any:
        text = forms.CharField.clean(self, value)
        if not text:
            return None
        return 0 if re.fullmatch(r"0+(\.0+)?", text, re.ASCII) else parse_gpu_hours(text)


class CapsForm(forms.Form):
    """One field for each person."""

    def __init__(self, data: Any = None, *, people: Iterable[User], caps: Iterable[PersonCap]) -> None:
        super().__init__(data)
        now = {cap.user_id: cap.gpu_seconds for cap in caps}
        self.people = {f"cap_{person.pk}": person for person in people}
        for name, person in self.people.items():
            initial = typed_hours(now[person.pk]) if person.pk in now else ""
            self.fields[name] = CapField(label=person.name, required=False, initial=initial)
            self.fields[name].widget.attrs["placeholder"] = gettext("no cap")

    @property
    def caps(self) -> dict[User, int | None]:
        return {person: self.cleaned_data[name] for name, person in self.people.items()}


class ReportForm(forms.Form):
    """The progress report, and one publication beside it at a time."""

    text = forms.CharField(
        label=_("What was done with the hours"),
        max_length=20_000,
        widget=forms.Textarea(attrs={"rows": 12}),
        help_text=_("Results, what went otherwise than planned, and what is to follow."),
        error_messages={"required": _("Tell the centre what was done with the hours.")},
    )
    doi = forms.CharField(
        label=_("DOI"), required=False, max_length=200, help_text=_("Such as 10.1000/182, or its link.")
    )
    title = forms.CharField(label=_("Title"), required=False, max_length=500)
    year = forms.CharField(
        label=_("Year"), required=False, max_length=4, widget=forms.TextInput(attrs={"inputmode": "numeric"})
    )

    PUBLICATION = ("doi", "title", "year")

    def clean_doi(self) -> str:
        doi = DOI_BEFORE.sub("", self.cleaned_data["doi"], count=1)
        if doi and not DOI.match(doi):
            raise ValidationError(gettext("A DOI begins with 10. and has a slash, such as 10.1000/182."))
        return doi

    def clean_year(self) -> int | None:
        text = self.cleaned_data["year"]
        if not text:
            return None
        latest = timezone.now().year + 1
        if not re.fullmatch(r"[0-9]{4}", text, re.ASCII) or not FIRST_YEAR <= int(text) <= latest:
            raise ValidationError(
                gettext("Give the year in four digits, at most %(latest)s.") % {"latest": latest}
            )
        return int(text)

    def clean(self) -> dict[str, Any]:
        given = [name for name in self.PUBLICATION if self.cleaned_data.get(name)]
        for name in self.PUBLICATION if given else ():
            if not self.cleaned_data.get(name) and name not in self.errors:
                self.add_error(name, gettext("A publication needs a DOI, a title and a year."))
        return self.cleaned_data

    @property
    def publication(self) -> Publication | None:
        """What was typed of one, not saved."""
        given = {name: self.cleaned_data[name] for name in self.PUBLICATION}
        return Publication(**given) if given["doi"] else None
