"""Whole numbers as people type them: plain digits, nothing that only Python would take for a number."""

from __future__ import annotations

import re
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from portal.words import grouped

DIGITS = re.compile(r"[0-9]{1,400}", re.ASCII)


class WholeNumberField(forms.Field):
    """`1_000`, full-width digits, `NaN`, `1e3` are no numbers here. What was typed stays in the field."""

    widget = forms.NumberInput

    def __init__(self, *, least: int, most: int, **options: Any) -> None:
        self.least = least
        self.most = most
        super().__init__(**options)

    def widget_attrs(self, widget: forms.Widget) -> dict[str, Any]:
        return {"min": self.least, "inputmode": "numeric", "autocomplete": "off"}

    def to_python(self, value: Any) -> int | None:
        text = "" if value is None else str(value).strip()
        if not text:
            return None
        if not DIGITS.fullmatch(text.lstrip("+-")):
            raise ValidationError(_("Type a whole number in plain digits, such as 8."), code="invalid")
        number = int(text) if len(text) < 20 else self.most + 1 if text[0] != "-" else self.least - 1
        if number < self.least:
            raise ValidationError(_("At least %(least)s.") % {"least": grouped(self.least)}, code="min_value")
        if number > self.most:
            raise ValidationError(_("At most %(most)s.") % {"most": grouped(self.most)}, code="max_value")
        return number
