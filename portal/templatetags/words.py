"""The filters of `portal.words`: {{ 1234|grouped }}, {{ size|filesize }}, {{ seconds|duration }}, {{ time|ago }}."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from portal import words

register = template.Library()


@register.filter
def grouped(number: int | Decimal | None) -> str:
    return "–" if number is None else words.grouped(number)


@register.filter
def figure(number: int | float | Decimal | None) -> str:
    return "–" if number is None else words.figure(number)


@register.filter
def named(things: Sequence[object], most: int) -> str:
    return words.named(things, most)


@register.filter
def filesize(size: int | None) -> str:
    return "–" if size is None else words.filesize(size)


@register.filter
def duration(length: timedelta | int | None) -> str:
    return "–" if length is None else words.duration(length)


@register.filter
def ago(moment: datetime | None) -> str | SafeString:
    """A <time> with the relative words, the exact time on hover; live.js keeps it true while the page is open."""
    if moment is None:
        return "–"
    return format_html(
        '<time datetime="{}" title="{}" data-ago>{}</time>',
        moment.astimezone(UTC).isoformat(),
        words.exact(moment),
        words.ago(moment),
    )


@register.filter(expects_localtime=True)
def day(when: date | str | None) -> str:
    """A date, a moment's, or "2026-06-30", as a mail keeps it, in the reader's words; nothing for None."""
    found = _date(when)
    return words.day(found) if found else ""


@register.filter(expects_localtime=True)
def short_day(when: date | str | None) -> str:
    """The same in figures."""
    found = _date(when)
    return words.short_day(found) if found else ""


def _date(when: date | str | None) -> date | None:
    if isinstance(when, str):
        return date.fromisoformat(when) if when else None
    return when.date() if isinstance(when, datetime) else when
