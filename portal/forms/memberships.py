"""Ending, changing and moving a role."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from django import forms
from django.utils.translation import gettext_lazy as _

from portal.actions.memberships import labs_to_move_to, needs_successor, possible_successors
from portal.forms.selects import LabChoice
from portal.models import Membership, User
from portal.models.people import LAB_ROLE_CHOICES

if TYPE_CHECKING:
    Choice = forms.ModelChoiceField[Any]
else:
    Choice = forms.ModelChoiceField  # can't be subscripted when it runs


class SuccessorChoice(Choice):
    """Members of the lab, by their names."""

    def label_from_instance(self, obj: Any) -> str:
        return str(obj.user)


class EndForm(forms.Form):
    """Asks for a successor only where the lab would be without a PI."""

    successor = SuccessorChoice(
        label=_("New PI"),
        queryset=Membership.objects.none(),
        error_messages={"required": _("Name somebody of the lab who becomes its PI.")},
        help_text=_("The lab has active projects, which need somebody who is responsible."),
    )
    reason = forms.CharField(
        label=_("Reason"),
        required=False,
        max_length=500,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text=_("Stands in the record and in the mail."),
    )

    def __init__(self, membership: Membership, *given: Any) -> None:
        super().__init__(*given)
        if needs_successor(membership):
            self.fields["successor"].queryset = possible_successors(membership)  # type: ignore[attr-defined]
        else:
            del self.fields["successor"]

    @property
    def deed(self) -> dict[str, Any]:
        return {
            "reason": self.cleaned_data["reason"],
            "successor": self.cleaned_data.get("successor"),
        }


class RoleForm(forms.Form):
    role = forms.ChoiceField(label=_("Role"), choices=LAB_ROLE_CHOICES, widget=forms.RadioSelect)


class MoveForm(forms.Form):
    lab = LabChoice(label=_("To the lab"))
    role = forms.ChoiceField(label=_("Role there"), choices=LAB_ROLE_CHOICES, widget=forms.RadioSelect)

    def __init__(self, by: User, membership: Membership, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        cast("LabChoice", self.fields["lab"]).offer(labs_to_move_to(by, membership))
