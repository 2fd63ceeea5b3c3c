"""{{ seconds|gpu_hours }}: integer GPU-seconds as hours for people, the seconds on hover."""

from decimal import Decimal

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from accounting.units import hours
from portal.words import THIN, figure, grouped, kept_by_language

register = template.Library()


@register.filter
@kept_by_language
def gpu_hours(gpu_seconds: int | None) -> str | SafeString:
    """4335300 → "1 204.25 GPU-h", for sentences and figures; whole hours without decimals."""
    if gpu_seconds is None:
        return "–"
    return _with_seconds(f"{_readable(gpu_seconds)}{THIN}{_('GPU-h')}", gpu_seconds)


@register.filter
@kept_by_language
def hours_only(gpu_seconds: int | None) -> str | SafeString:
    """Two decimals and no unit, for a column whose heading names the unit."""
    if gpu_seconds is None:
        return "–"
    return _with_seconds(grouped(hours(gpu_seconds), 2), gpu_seconds)


@register.filter
def signed_hours(gpu_seconds: int) -> SafeString:
    """With its sign, as a statement writes amounts."""
    sign = "+" if gpu_seconds > 0 else ""
    return _with_seconds(sign + grouped(hours(gpu_seconds), 2), gpu_seconds)


@register.filter
def gpu_hours_bare(gpu_seconds: int) -> str:
    """The figure alone, as plain text: for titles, and where a sentence names the unit."""
    return figure(hours(gpu_seconds))


@register.filter
def plain(number: Decimal) -> str:
    """A charge factor without idle zeros: 0.5, 1."""
    return f"{number.normalize():f}"


def _readable(gpu_seconds: int) -> str:
    """Something that was used is never shown as nothing."""
    amount = hours(gpu_seconds)
    return f"<{THIN}{figure(Decimal('0.01'))}" if gpu_seconds > 0 and not amount else figure(amount)


def _with_seconds(text: str, gpu_seconds: int) -> SafeString:
    title = _("%(seconds)s GPU-seconds") % {"seconds": grouped(gpu_seconds)}
    return format_html('<span class="num" title="{}">{}</span>', title, text)
