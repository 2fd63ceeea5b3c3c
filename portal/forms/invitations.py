"""Who is invited where: one address, or many at once."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.files.uploadedfile import UploadedFile
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from portal import pasted
from portal.actions.bulk_invitations import MOST
from portal.actions.invitations import Place, roles_of
from portal.models import Funder, Role
from portal.models.people import CENTRE_ROLES, LAB_ROLES

MOST_BYTES = 200_000
NO_ROLE = {"required": _("Choose a role."), "invalid_choice": _("Choose one of the roles.")}


class InvitationForm(forms.Form):
    """One address into a lab or an institution."""

    email = forms.EmailField(label=_("E-mail address"), max_length=254)

    def __init__(self, data: Any = None, *, place: Place) -> None:
        super().__init__(data)
        self.place = place
        choices = [(role.value, role.label) for role in roles_of(place)]
        self.fields["role"] = forms.ChoiceField(label=_("Role"), choices=choices, error_messages=NO_ROLE)

    @property
    def deed(self) -> dict[str, Any]:
        """The keywords of `actions.invitations.invite`."""
        return {**self.cleaned_data, "place": self.place}


class CentreInvitationForm(forms.Form):
    """One address into the centre, or as a reader of a funder's reports."""

    email = forms.EmailField(label=_("E-mail address"), max_length=254)
    role = forms.ChoiceField(
        label=_("Role"),
        choices=[(role.value, role.label) for role in (*CENTRE_ROLES, Role.FUNDER)],
        error_messages=NO_ROLE,
    )
    funder = forms.ModelChoiceField(
        label=_("Funder"),
        queryset=Funder.objects.all(),
        required=False,
        empty_label=_("none"),
        help_text=_("For the role funder: whose reports they read."),
        error_messages={"invalid_choice": _("Choose one of the funders.")},
    )

    def clean(self) -> dict[str, Any]:
        role, funder = self.cleaned_data.get("role"), self.cleaned_data.get("funder")
        if role == Role.FUNDER and funder is None and "funder" not in self.errors:
            self.add_error("funder", gettext("Choose the funder whose reports they read."))
        elif role in CENTRE_ROLES and funder is not None:
            self.add_error("funder", gettext("Only the role funder belongs to a funder."))
        return self.cleaned_data

    @property
    def deed(self) -> dict[str, Any]:
        """The keywords of `actions.invitations.invite`."""
        return {
            "email": self.cleaned_data["email"],
            "role": self.cleaned_data["role"],
            "place": self.cleaned_data["funder"],
        }


class BulkForm(forms.Form):
    """Addresses as one has them: pasted, or a CSV file."""

    people = forms.CharField(
        label=_("Addresses"),
        required=False,
        max_length=MOST_BYTES,
        widget=forms.Textarea(attrs={"rows": 10, "spellcheck": "false"}),
        help_text=_(
            "One per line, or with commas between them; also a table with the columns email, name, role."
        ),
    )
    file = forms.FileField(
        label=_("or a CSV file"),
        required=False,
        widget=forms.FileInput(attrs={"accept": ".csv,.txt,text/csv,text/plain"}),
        help_text=_("With the columns email and, if you like, name and role."),
    )
    role = forms.ChoiceField(
        label=_("Role"),
        choices=[(role.value, role.label) for role in LAB_ROLES],
        initial=Role.MEMBER,
        error_messages=NO_ROLE,
        help_text=_("Of who is listed without one."),
    )

    def clean_file(self) -> str:
        """Its text. Spreadsheets in China write GB 18030 unless told otherwise."""
        given: UploadedFile[bytes] | None = self.cleaned_data["file"]
        if given is None:
            return ""
        content = given.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise forms.ValidationError(gettext("This file is too large for a list of addresses."))
        for encoding in ("utf-8-sig", "gb18030"):
            try:
                text = str(content, encoding)
            except UnicodeDecodeError:
                continue
            if "\0" not in text:
                return text
        raise forms.ValidationError(gettext("This file is no text. Save the table as CSV."))

    def clean(self) -> dict[str, Any]:
        text = self.cleaned_data.get("file") or self.cleaned_data.get("people") or ""
        found = pasted.read(text)
        if not self.errors and not found:
            self.add_error("people", gettext("Paste the addresses of those whom you invite."))
        if len(found) > MOST:
            self.add_error("people", _too_many(len(found)))
        return self.cleaned_data | {"text": text, "found": found}


def _too_many(number: int) -> str:
    told = {"most": MOST, "n": number}
    return (
        ngettext(
            "At most %(most)s at once; there is %(n)s.", "At most %(most)s at once; there are %(n)s.", number
        )
        % told
    )
