"""The programme's report in words and cells."""

from decimal import Decimal

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounting import charts
from accounting.periods import Month
from accounting.reports.corrections import CorrectionRow
from accounting.reports.programmes import Programme, ProgrammeRow
from accounting.templatetags.gpu_hours import gpu_hours_bare, hours_only
from portal.words import THIN, figure

register = template.Library()


@register.filter
def in_words(programme: Programme) -> str:
    """The sentence on top: what was used, by how many, of what."""
    institutions = sum(row.kind == "institution" for row in programme.usage.rows)
    words = {
        "used": gpu_hours_bare(programme.usage.total.gpu_seconds),
        "period": programme.period.words,
        "awarded": gpu_hours_bare(programme.awarded),
        "share": percent(programme.share),
        "n": institutions,
    }
    if not programme.usage.rows:
        return _("No GPU-hours were used in this period (%(period)s).") % words
    if programme.share is None or not institutions:
        return _("%(used)s GPU-hours were used, %(period)s.") % words
    return (
        ngettext(
            "%(n)s institution used %(used)s GPU-hours, %(share)s of the %(awarded)s that were awarded, %(period)s.",
            "%(n)s institutions used %(used)s GPU-hours, %(share)s of the %(awarded)s that were awarded, %(period)s.",
            institutions,
        )
        % words
    )


@register.filter
def change_in_words(programme: Programme) -> str:
    """Against the period of the same length before."""
    if programme.change is None:
        return _("nothing was used in the period before")
    words = {"percent": percent(abs(programme.change))}
    if programme.change < 0:
        return _("%(percent)s less than in the period before") % words
    return _("%(percent)s more than in the period before") % words


@register.filter
def percent(number: Decimal | None) -> str:
    return "–" if number is None else f"{figure(number)}{THIN}%"


@register.filter
def name_of(row: ProgrammeRow | CorrectionRow) -> str:
    return charts.name_of(row)


@register.simple_tag
def cell(row: ProgrammeRow, month: Month) -> str | SafeString:
    """GPU-hours of one month; "p" where a part is provisional, an asterisk where the figure is in the merged row."""
    found = row.by_month.get(month)
    if found is None:
        title = _("In the row of institutions with fewer than three active people")
        return format_html('<span title="{}">*</span>', title) if month in row.merged_months else "–"
    mark = (
        format_html('<sup title="{}">p</sup>', _("A part of it may still change"))
        if found.provisional
        else ""
    )
    return format_html("{}{}", hours_only(found.gpu_seconds), mark)
