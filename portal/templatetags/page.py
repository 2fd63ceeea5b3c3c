"""What the page frame and the components ask of Python: a block shown twice, a widget dressed, pages elided, a term."""

from collections.abc import Iterator
from typing import Any

from django import template
from django.core.paginator import Page
from django.forms import BoundField, Select
from django.forms.boundfield import BoundWidget
from django.template.context import RequestContext
from django.template.loader_tags import BLOCK_CONTEXT_KEY
from django.utils.html import format_html, json_script
from django.utils.safestring import SafeString

from portal.templatetags.icons import icon
from portal.terms import TERMS
from portal.words import AGO_TEXTS

register = template.Library()

CONTROLS = {
    "checkbox": "form-check-input",
    "radioselect": "form-check-input",
    "checkboxselectmultiple": "form-check-input",
}


@register.simple_tag(takes_context=True)
def block_again(context: RequestContext, name: str) -> str:
    """The text of block `name` once more: the title is both the tab's and the heading's."""
    block = context.render_context[BLOCK_CONTEXT_KEY].get_block(name)
    return str(block.render(context))


@register.simple_tag
def widget(field: BoundField) -> SafeString:
    """The field's control in the stylesheet's dress; Django adds aria-invalid and aria-describedby itself."""
    own = field.field.widget.attrs.get("class", "")
    usual = "form-select" if isinstance(field.field.widget, Select) else "form-control"
    dress = CONTROLS.get(field.widget_type, usual)
    return field.as_widget(attrs={"class": f"{dress} {own}".strip()})


@register.simple_tag
def option(choice: BoundWidget) -> SafeString:
    """One radio button or tick box of a field with several."""
    own = choice.data["attrs"].get("class", "")
    choice.data["attrs"]["class"] = f"form-check-input {own}".strip()
    return SafeString(choice.tag())


TONES = {
    "ok": "circle-check",
    "busy": "player-play",
    "wait": "clock",
    "warn": "alert-triangle",
    "bad": "alert-circle",
}


@register.simple_tag
def state(word: object, tone: str, hint: object = "", symbol: str = "") -> SafeString:
    """A state as word, colour and icon. In Python, because long lists have one in each row."""
    drawing = icon(symbol or TONES.get(tone, "circle-minus"))
    if hint:
        return format_html('<span class="state tone-{}" title="{}">{}{}</span>', tone, hint, drawing, word)
    return format_html('<span class="state tone-{}">{}{}</span>', tone, drawing, word)


@register.filter
def elided(page: Page[Any]) -> Iterator[int | str]:
    """The page numbers worth showing: 1 … 4 5 6 … 40."""
    return page.paginator.get_elided_page_range(page.number, on_each_side=1, on_ends=1)


@register.simple_tag
def term(name: str, text: str = "") -> SafeString:
    """A word of the field with its one-line explanation, by hover and by keyboard. Unknown terms are an error."""
    return format_html(
        '<dfn class="term" tabindex="0" data-bs-toggle="tooltip" data-bs-title="{}">{}</dfn>',
        TERMS[name].hint,
        text or TERMS[name].word,
    )


@register.simple_tag
def ago_texts() -> SafeString:
    """The words of relative times for live.js, so that both sides say it alike."""
    return json_script({name: str(text) for name, text in AGO_TEXTS.items()}, "ago-texts")
