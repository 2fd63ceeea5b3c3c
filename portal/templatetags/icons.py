"""{% icon "rocket" %}: one of Tabler's outline icons, inlined. It says nothing by itself: put a word beside it."""

import re
from functools import cache
from pathlib import Path

from django import template
from django.conf import settings
from django.utils.safestring import SafeString

register = template.Library()


class UnknownIcon(Exception):
    """No such icon. Loud, because the names stand in our own templates, where any test that renders finds it."""


@register.simple_tag
def icon(name: str) -> SafeString:
    return _svg(settings.ICONS_DIR, name)


@cache
def _svg(folder: Path, name: str) -> SafeString:
    path = folder / f"{name}.svg"
    if not re.fullmatch(r"[a-z0-9-]+", name) or not path.is_file():
        raise UnknownIcon(f"There is no icon {name!r} in {folder}. Names are those of Tabler's outline set.")
    drawing = re.search(r"<svg[^>]*>(.*)</svg>", path.read_text(), re.DOTALL)
    if drawing is None:
        raise UnknownIcon(f"{path} is not an SVG drawing.")
    shapes = re.sub(r"\s*\n\s*", "", drawing[1])
    return SafeString(
        '<svg class="icon" aria-hidden="true" focusable="false" width="24" height="24" viewBox="0 0 24 24"'
        ' fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round">'
        f"{shapes}</svg>"
    )
