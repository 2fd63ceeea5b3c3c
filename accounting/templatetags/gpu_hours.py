"""{{ seconds|gpu_hours }}: integer GPU-seconds as hours for people, the seconds on hover."""

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from accounting.units import hours
from portal.words import THIN, grouped

register = template.Library()


def figure(gpu_seconds: int) -> str:
    """4335300 → "1 204.25"; whole hours without decimals."""
    amount = hours(gpu_seconds)
    return grouped(amount, 0 if amount == amount.to_integral_value() else 2)


@register.filter
def gpu_hours(gpu_seconds: int | None) -> str | SafeString:
    """With the unit, for sentences and figures."""
    if gpu_seconds is None:
        return "–"
    return _with_seconds(f"{figure(gpu_seconds)}{THIN}{_('GPU-h')}", gpu_seconds)


@register.filter
def hours_only(gpu_seconds: int | None) -> str | SafeString:
    """Two decimals and no unit, for a column whose heading names the unit."""
    if gpu_seconds is None:
        return "–"
    return _with_seconds(grouped(hours(gpu_seconds), 2), gpu_seconds)


def _with_seconds(text: str, gpu_seconds: int) -> SafeString:
    title = _("%(seconds)s GPU-seconds") % {"seconds": grouped(gpu_seconds)}
    return format_html('<span class="num" title="{}">{}</span>', title, text)
