"""Publishing and accepting terms."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from portal.models import Terms


class TextField(forms.CharField):
    """As long as terms may be."""

    def __init__(self, **more: Any) -> None:
        super().__init__(max_length=100_000, widget=forms.Textarea(attrs={"rows": 16}), **more)


class TermsForm(forms.Form):
    """A new version. Both languages, since who accepts must be able to read it."""

    text_en = TextField(
        label=_("Text in English"),
        help_text=_("Plain text; an empty line begins a new paragraph."),
        error_messages={"required": _("Type the text in English.")},
    )
    text_zh_hans = TextField(
        label=_("Text in Chinese"), error_messages={"required": _("Type the text in Chinese.")}
    )

    def __init__(self, data: Any = None, *, latest: Terms | None) -> None:
        texts = {name: getattr(latest, name) for name in ("text_en", "text_zh_hans")} if latest else {}
        super().__init__(data, initial=texts)


class KindForm(forms.Form):
    """Which of the texts, in the address."""

    kind = forms.ChoiceField(choices=Terms.Kind.choices)
