"""An institution applies, and the centre answers."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from portal.forms.fields import CountryField, MailDomainField, check_plain_name
from portal.mail_domains import is_in
from portal.models import Terms


class ApplicationForm(forms.Form):
    """What a stranger tells about an institution. The agreement is asked for only where the centre has published one."""

    name = forms.CharField(
        label=_("Name of the institution"),
        max_length=200,
        error_messages={"required": _("Type its full name.")},
    )
    country = CountryField()
    mail_domain = MailDomainField()
    contact_name = forms.CharField(
        label=_("Your name"), max_length=150, error_messages={"required": _("Type your name.")}
    )
    contact_email = forms.EmailField(
        label=_("Your e-mail address there"),
        max_length=254,
        help_text=_("In the institution's mail domain. We send a link to it."),
    )
    purpose = forms.CharField(
        label=_("What for"),
        max_length=5000,
        widget=forms.Textarea(attrs={"rows": 6}),
        help_text=_("Which groups would work here, on what, and about how many GPU-hours a year."),
        error_messages={"required": _("Say what your institution wants to compute.")},
    )

    def __init__(self, data: Any = None, *, agreement: Terms | None) -> None:
        super().__init__(data)
        self.agreement = agreement
        if agreement is not None:
            # The tick is worth the text that was on the page: its value says which.
            self.fields["agreement"] = forms.BooleanField(
                label=_("We accept the agreement"),
                widget=forms.CheckboxInput(attrs={"value": str(agreement.pk)}),
                error_messages={"required": _("An institution can't be registered without it.")},
            )

    def clean_name(self) -> str:
        return check_plain_name(self.cleaned_data["name"])

    def clean_contact_name(self) -> str:
        return check_plain_name(self.cleaned_data["contact_name"])

    def clean_contact_email(self) -> str:
        return str(self.cleaned_data["contact_email"]).lower()

    def clean_agreement(self) -> bool:
        if self.data.get("agreement") != str(self.agreement and self.agreement.pk):
            raise forms.ValidationError(gettext("The agreement has changed meanwhile. Read it once more."))
        return True

    def clean(self) -> dict[str, Any]:
        email, domain = self.cleaned_data.get("contact_email"), self.cleaned_data.get("mail_domain")
        if email and domain and not is_in(email, domain):
            self.add_error("contact_email", gettext("This address is not in the mail domain above."))
        return self.cleaned_data

    @property
    def deed(self) -> dict[str, Any]:
        """The keywords of `actions.applications.apply`."""
        told = {name: self.cleaned_data[name] for name in self.fields if name != "agreement"}
        return told | {"agreement": self.agreement}


class DeclineForm(forms.Form):
    comment = forms.CharField(
        label=_("Why not"),
        max_length=5000,
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text=_("The contact gets it by mail."),
        error_messages={"required": _("Say why, so that they understand.")},
    )
