"""What came out of a project, as typed: a DOI in any of the ways in which people write one."""

from __future__ import annotations

import re
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounting.attaching import choose_pdf

BEFORE = re.compile(r"(https?://(dx\.)?doi\.org/|doi:\s*)", re.IGNORECASE)
DOI = re.compile(r"10\.[0-9]{4,9}/[!-~]+\Z", re.ASCII)
MAX_DOI = 200
FIRST_YEAR = 1900


def parse_doi(text: str) -> str:
    """ "https://doi.org/10.1000/ABC" → "10.1000/abc": DOIs don't tell upper from lower case. Raises ValidationError."""
    bare = BEFORE.sub("", text.strip(), count=1).lower()
    if len(bare) > MAX_DOI or not DOI.match(bare) or set(bare) & set("<>\"'\\^`{|}"):
        raise ValidationError(
            gettext("Give the DOI as it stands in the paper, such as 10.1038/s41586-021-03819-2.")
        )
    return bare


def latest_year() -> int:
    return timezone.now().year + 1  # papers appear early


class PublicationForm(forms.Form):
    """A publication by its DOI. Nothing is looked up elsewhere: title and year are typed."""

    doi = forms.CharField(
        label="DOI", max_length=300, help_text=_("Such as 10.1038/s41586-021-03819-2, or its link.")
    )
    title = forms.CharField(label=_("Title"), max_length=500)
    year = forms.IntegerField(
        label=_("Year"),
        widget=forms.TextInput(attrs={"inputmode": "numeric", "autocomplete": "off"}),
        error_messages={"invalid": _("Type the year in four digits.")},
    )

    def clean_doi(self) -> str:
        return parse_doi(self.cleaned_data["doi"])

    def clean_year(self) -> Any:
        year = self.cleaned_data["year"]
        if not FIRST_YEAR <= year <= latest_year():
            raise ValidationError(
                gettext("Type a year from %(first)s to %(last)s.")
                % {"first": FIRST_YEAR, "last": latest_year()}
            )
        return year


class AttachmentForm(forms.Form):
    """One PDF. What is in it is checked when it is kept."""

    file = forms.FileField(
        label=_("PDF"),
        widget=forms.FileInput(attrs={"accept": "application/pdf,.pdf"}),
        error_messages={"empty": _("This file is empty.")},
    )

    def __init__(self, data: Any = None, files: Any = None) -> None:
        super().__init__(data, files)
        for code in ("required", "missing", "invalid"):
            self.fields["file"].error_messages[code] = choose_pdf()
