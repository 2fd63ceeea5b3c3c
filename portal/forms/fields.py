"""Fields that several forms of people and places have, each with a sentence that says what to type."""

from __future__ import annotations

import re
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.forms.utils import flatatt
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from portal import countries
from portal.mail_domains import check_domain

SELECTED = SafeString(" selected")
ADDRESS_WITHIN = re.compile(r"https?:|www\.|://|[\r\n]", re.IGNORECASE)


def check_plain_name(name: str) -> str:
    """A name stands in mails to other people: it holds no web address."""
    if ADDRESS_WITHIN.search(name):
        raise ValidationError(gettext("Type a name, without a web address."))
    return name


class MailDomainField(forms.CharField):
    def __init__(self, **more: Any) -> None:
        super().__init__(
            label=_("Mail domain"),
            max_length=253,
            help_text=_("What stands behind the @ in your addresses, such as northlake.example."),
            error_messages={"required": _("Type what stands behind the @ in your addresses.")},
            **more,
        )

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        return check_domain(text) if text else ""


class LongSelect(forms.Select):
    """Of hundreds, without groups. Django's own renders a template for each: they took longer than the rest of the page."""

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        chosen = set(self.format_value(value))
        options = ((key, SELECTED if key in chosen else "", label) for key, label in self.choices)
        return format_html(
            '<select name="{}"{}>{}</select>',
            name,
            flatatt(self.build_attrs(self.attrs, attrs)),
            format_html_join("", '<option value="{}"{}>{}</option>', options),
        )


class CountryField(forms.ChoiceField):
    """Its choices are in the reader's language: taken anew for each form."""

    def __init__(self, **more: Any) -> None:
        super().__init__(
            label=_("Country or region"),
            widget=LongSelect,
            choices=lambda: [("", _("Choose…")), *countries.choices()],
            error_messages={"required": _("Choose one."), "invalid_choice": _("Choose one of the list.")},
            **more,
        )
