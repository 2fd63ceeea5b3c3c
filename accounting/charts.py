"""How reports are drawn: figures in GPU-hours for portal.charts."""

from __future__ import annotations

from datetime import date

from django.utils.translation import gettext as _

from accounting.periods import Month
from accounting.reports.balances import AllocationStanding
from accounting.reports.corrections import CorrectionRow
from accounting.reports.programmes import Cell, ProgrammeRow, Usage
from accounting.reports.spending import Burn
from accounting.units import hours
from portal.charts import Chart, Series
from portal.words import short_day

BANDS = 5  # rows that get a colour of their own; the rest is one more
POINTS = 40  # of a line


def by_month(usage: Usage) -> Chart:
    """Stacked bars: the largest institutions, and the others together."""
    months = list(usage.period.months)
    ranked = sorted(usage.rows, key=lambda row: -row.total.gpu_seconds)
    top, rest = ranked[:BANDS], ranked[BANDS:]
    series = [
        Series(name_of(row), [hours(row.by_month.get(month, Cell()).gpu_seconds) for month in months])
        for row in top
    ]
    if rest:
        others = [usage.by_month[month].gpu_seconds - _sum(top, month) for month in months]
        series.append(Series(_("Others"), [hours(seconds) for seconds in others]))
    return Chart(
        title=_("GPU-hours by institution and month"),
        unit=_("GPU-h"),
        labels=[month.short_words for month in months],
        series=series,
        stacked=True,
        label_head=_("Month"),
    )


def name_of(row: ProgrammeRow | CorrectionRow) -> str:
    if row.kind == "few":
        return _("Institutions with fewer than three active people")
    if row.kind == "unassigned":
        return _("Unassigned: %(account)s") % {"account": row.name or _("no account")}
    return row.name


def _sum(rows: list[ProgrammeRow], month: Month) -> int:
    return sum(row.by_month.get(month, Cell()).gpu_seconds for row in rows)


def burn_down(standing: AllocationStanding, burn: Burn) -> Chart:
    """What is left, beside the pace that would use the hours evenly."""
    days = _sampled(burn, standing.allocation.end)
    left = dict(zip(burn.days, burn.left, strict=True))
    total = standing.days_total
    even = [
        burn.granted - burn.granted * ((day - standing.allocation.start).days + 1) // total for day in days
    ]
    return Chart(
        title=_("GPU-hours left of %(allocation)s") % {"allocation": standing.allocation},
        unit=_("GPU-h"),
        labels=[short_day(day) for day in days],
        series=[
            Series(_("left"), [hours(left[day]) if day in left else None for day in days]),
            Series(_("even pace"), [hours(amount) for amount in even], dashed=True),
        ],
        kind="line",
        label_head=_("End of day"),
    )


def _sampled(burn: Burn, end: date) -> list[date]:
    """Evenly spaced days from the first to the last, today among them."""
    first = burn.days[0] if burn.days else end
    total = (end - first).days + 1
    step = -(-total // POINTS)
    days = {date.fromordinal(first.toordinal() + n) for n in range(0, total, step)}
    return sorted(days | {end} | set(burn.days[-1:]))
