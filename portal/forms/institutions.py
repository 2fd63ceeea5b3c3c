"""Institutions and labs, as the centre and the institution keep them."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.text import slugify
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from portal.actions.institutions import RESERVED, free_short_name, lab_account
from portal.forms.fields import CountryField, MailDomainField, check_plain_name
from portal.models import Institution, InstitutionApplication, Lab
from portal.models.people import account_name

TAKEN_SLUG = _("This short name is taken. Choose another.")


class InstitutionForm(forms.Form):
    """What may change of an institution."""

    name = forms.CharField(
        label=_("Name"), max_length=200, error_messages={"required": _("Type its full name.")}
    )
    country = CountryField(required=False)
    mail_domain = MailDomainField(required=False)

    def __init__(self, data: Any = None, *, of: Institution | None = None, initial: Any = None) -> None:
        super().__init__(data, initial=_facts_of(of) if of else initial)
        self.others = Institution.objects.exclude(pk=of.pk) if of else Institution.objects.all()

    def clean_name(self) -> str:
        name = check_plain_name(self.cleaned_data["name"])
        if self.others.filter(name__iexact=name).exists():
            raise forms.ValidationError(gettext("An institution of this name is registered already."))
        return name


class NewInstitutionForm(InstitutionForm):
    """A new one, with the names that it keeps."""

    slug = forms.SlugField(
        label=_("Short name"),
        max_length=60,
        help_text=_("In addresses of pages, such as northlake. It stays."),
        error_messages={"invalid": _("Use letters, digits and dashes.")},
    )
    account = forms.CharField(
        label=_("Account in Slurm"),
        max_length=40,
        validators=[account_name],
        help_text=_("Its node in the scheduler's account tree. It stays; its labs' accounts begin with it."),
    )

    def clean_slug(self) -> str:
        slug = str(self.cleaned_data["slug"]).lower()
        if slug in RESERVED or self.others.filter(slug=slug).exists():
            raise forms.ValidationError(TAKEN_SLUG)
        return slug

    def clean_account(self) -> str:
        account = str(self.cleaned_data["account"])
        if self.others.filter(account=account).exists():
            raise forms.ValidationError(gettext("This account belongs to another institution."))
        return account


class RegistrationForm(NewInstitutionForm):
    """Staff register it themselves, and may invite its first admin at once."""

    admin = forms.EmailField(
        label=_("Its first admin"),
        required=False,
        max_length=254,
        help_text=_("Gets an invitation to look after the institution. You can also invite later."),
    )


def proposed(application: InstitutionApplication) -> dict[str, str]:
    """What an applying institution would be called; staff may change all of it."""
    short = free_short_name(application.name, application.mail_domain)
    return {
        "name": application.name,
        "country": application.country,
        "mail_domain": application.mail_domain,
        "slug": short,
        "account": short[:40],
    }


class LabForm(forms.Form):
    """A new lab of an institution, and who leads it."""

    name = forms.CharField(
        label=_("Name"),
        max_length=200,
        error_messages={"required": _("Type the lab's name.")},
    )
    slug = forms.SlugField(
        label=_("Short name"),
        max_length=20,
        required=False,
        help_text=_("In the lab's account in Slurm, such as optics. Left empty, it is made from the name."),
        error_messages={"invalid": _("Use letters, digits and dashes.")},
    )
    pi = forms.EmailField(
        label=_("E-mail address of its PI"),
        max_length=254,
        help_text=_("Gets an invitation to lead the lab."),
        error_messages={"required": _("A lab has a PI: type the address to invite.")},
    )

    def __init__(self, data: Any = None, *, institution: Institution) -> None:
        super().__init__(data)
        self.institution = institution

    def clean_name(self) -> str:
        return check_plain_name(self.cleaned_data["name"])

    def clean(self) -> dict[str, Any]:
        if "slug" in self.cleaned_data and "name" in self.cleaned_data:
            self._clean_short_name()
        return self.cleaned_data

    def _clean_short_name(self) -> None:
        slug = self.cleaned_data["slug"].lower() or slugify(self.cleaned_data["name"])[:20].strip("-_")
        account = lab_account(self.institution, slug)
        if not slug:
            self.add_error("slug", gettext("Type a short name in Latin letters."))
        elif Lab.objects.filter(account=account).exists() or self.institution.labs.filter(slug=slug).exists():
            self.add_error("slug", TAKEN_SLUG)
        self.cleaned_data["slug"] = slug


def _facts_of(institution: Institution) -> dict[str, str]:
    return {name: getattr(institution, name) for name in ("name", "country", "mail_domain")}
