"""A choice that may be among very many: a list where they are few, else typed, with suggestions while one types."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.forms.utils import flatatt
from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext_lazy as _

from portal.models import Lab, Project

if TYPE_CHECKING:
    Choice = forms.ModelChoiceField[Any]
else:
    Choice = forms.ModelChoiceField  # can't be subscripted when it runs

MOST_LISTED = 50
CHOSEN = mark_safe(" selected")


class PlainSelect(forms.Select):
    """Without groups, and written at once: Django renders a template for each option."""

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        dress = {"name": name, **self.build_attrs(self.attrs, attrs)}
        return self.written(name, list(self.choices), {*self.format_value(value)}, dress)

    def written(self, name: str, choices: list[Any], chosen: set[str], dress: dict[str, Any]) -> SafeString:
        options = ((str(key), CHOSEN if str(key) in chosen else "", label) for key, label in choices)
        written = format_html_join("", '<option value="{}"{}>{}</option>', options)
        return format_html("<select{}>{}</select>", flatatt(dress), written)


class SelectOrType(PlainSelect):
    """`suggestions`: the name of the address that answers to the words typed so far with options."""

    suggestions = ""

    def written(self, name: str, choices: list[Any], chosen: set[str], dress: dict[str, Any]) -> SafeString:
        if len(choices) <= MOST_LISTED:
            return super().written(name, choices, chosen, dress)
        return self._typed(name, chosen, dress)

    def _typed(self, name: str, chosen: Iterable[str], dress: dict[str, Any]) -> SafeString:
        names = f"names-for-{name}"
        dress |= {
            "type": "text",
            "value": "".join(chosen),
            "list": names,
            "autocomplete": "off",
            "placeholder": _("Type a part of its name"),
            "hx-get": reverse(self.suggestions),
            "hx-trigger": "focus once, input changed delay:150ms",
            "hx-target": f"#{names}",
        }
        dress["class"] = str(dress.get("class", "")).replace("form-select", "form-control")
        return format_html('<input{}><datalist id="{}"></datalist>', flatatt(dress), names)


class NamedChoice(Choice):
    """One row, by the short name that people know it by. Of which rows: see `offer`."""

    rows: QuerySet[Any]  # none, of the model
    short_name = ""  # the field's
    read_as: tuple[str, ...] = ()  # the fields that people read
    suggestions = ""  # the address's name
    empty: str | Promise | None = None  # what stands where nothing is chosen yet
    widget = SelectOrType
    default_error_messages = {
        "invalid_choice": _(
            "There is none of that name here. Type a part of its name and choose from what is offered."
        )
    }

    def __init__(self, **options: Any) -> None:
        super().__init__(self.rows, to_field_name=self.short_name, **{"empty_label": self.empty, **options})
        self.widget.suggestions = self.suggestions

    def offer(self, rows: QuerySet[Any]) -> None:
        """One of these can be chosen. They are asked for once, where they are shown, and no more than are listed."""
        self.queryset = rows
        blank = [] if self.empty_label is None else [("", self.empty_label)]
        self.choices = cache(lambda: [*blank, *self.named(rows[: MOST_LISTED + 1])])

    @classmethod
    def named(cls, rows: QuerySet[Any]) -> list[tuple[str, str]]:
        """(short name, what people read) of each."""
        found = rows.values_list(cls.short_name, *cls.read_as)
        return [(short, ", ".join(words)) for short, *words in found]


class LabChoice(NamedChoice):
    rows = Lab.objects.none()
    empty = _("Choose a lab")
    short_name, read_as = "account", ("name", "institution__name")
    suggestions = "portal:lab_names"


class ProjectChoice(NamedChoice):
    rows = Project.objects.none()
    short_name, read_as = "slug", ("title",)
    suggestions = "accounting:project_names"


def typed(request: HttpRequest, field: str) -> list[str]:
    """The words typed into the field so far; none that nothing can be called."""
    try:
        words: str = forms.CharField(required=False, max_length=100).clean(request.GET.get(field, ""))
    except ValidationError:
        return []
    return words.split()
