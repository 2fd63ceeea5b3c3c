"""A project as it is proposed."""

from __future__ import annotations

from typing import Any

from django import forms
from django.db.models import Q, QuerySet
from django.utils.translation import gettext_lazy as _

from portal.fields_of_science import CHOICES
from portal.forms.selects import LabChoice
from portal.models import Funder, Lab, User
from portal.permissions import HOLDERS, Permission


class ProposalForm(forms.Form):
    """What the centre wants to know of a project before it lends hours to it."""

    lab = LabChoice(
        label=_("Lab"),
        error_messages={"required": _("Choose the lab in which the project is done.")},
    )
    title = forms.CharField(
        label=_("Title"),
        max_length=200,
        help_text=_("As people outside of the field would understand it: it stands in public reports."),
        error_messages={"required": _("Give the project a title.")},
    )
    abstract = forms.CharField(
        label=_("Abstract"),
        max_length=5000,
        widget=forms.Textarea(attrs={"rows": 6}),
        help_text=_("What is to be found out, and how, in a few sentences."),
        error_messages={"required": _("Say what the project is about.")},
    )
    field_of_science = forms.ChoiceField(
        label=_("Field of science"),
        choices=[("", _("Choose a field")), *CHOICES],
        help_text=_("The closest one of the OECD's classification."),
        error_messages={
            "required": _("Choose the closest field."),
            "invalid_choice": _("Choose the closest field."),
        },
    )
    funder = forms.ModelChoiceField(
        label=_("Funder"),
        queryset=Funder.objects.all(),
        required=False,
        empty_label=_("None, or not in this list"),
        error_messages={"invalid_choice": _("Choose one of the funders.")},
    )
    grant_number = forms.CharField(
        label=_("Grant number"), required=False, max_length=100, help_text=_("The funder's.")
    )

    def __init__(self, data: Any = None, *, user: User, initial: Any = None) -> None:
        super().__init__(data, initial=initial)
        field: Any = self.fields["lab"]
        self.labs = list(labs_of(user)[:2])
        if len(self.labs) == 1:
            field.initial, field.empty_label = self.labs[0], None
        field.offer(labs_of(user))


def labs_of(user: User) -> QuerySet[Lab]:
    """Open labs for which this person may ask for hours: those they lead, of institutions they look after, or all."""
    labs = (
        Lab.objects.filter(closed_at=None).select_related("institution").order_by("institution__name", "name")
    )
    places = [m for m in user.current_memberships if m.role in HOLDERS[Permission.REQUEST_HOURS]]
    if any(m.place is None for m in places):
        return labs
    return labs.filter(
        Q(pk__in=[m.lab_id for m in places]) | Q(institution__in=[m.institution_id for m in places])
    )
