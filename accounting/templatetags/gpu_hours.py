"""{{ seconds|gpu_hours }}: integer GPU-seconds as hours for people, the seconds on hover."""

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from accounting.units import hours
from portal.words import THIN, figure, grouped

register = template.Library()


@register.filter
def gpu_hours(gpu_seconds: int | None) -> str | SafeString:
    """4335300 → "1 204.25 GPU-h", for sentences and figures; whole hours without decimals."""
    if gpu_seconds is None:
        return "–"
    return _with_seconds(f"{figure(hours(gpu_seconds))}{THIN}{_('GPU-h')}", gpu_seconds)


@register.filter
def hours_only(gpu_seconds: int | None) -> str | SafeString:
    """Two decimals and no unit, for a column whose heading names the unit."""
    if gpu_seconds is None:
        return "–"
    return _with_seconds(grouped(hours(gpu_seconds), 2), gpu_seconds)


def _with_seconds(text: str, gpu_seconds: int) -> SafeString:
    title = _("%(seconds)s GPU-seconds") % {"seconds": grouped(gpu_seconds)}
    return format_html('<span class="num" title="{}">{}</span>', title, text)
