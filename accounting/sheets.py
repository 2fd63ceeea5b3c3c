"""Reports as lines of a table, for downloads: the same numbers as on the page. Headings stay English, for scripts."""

from __future__ import annotations

from collections.abc import Iterator

from accounting.charts import name_of
from accounting.reports.corrections import Corrections
from accounting.reports.programmes import Programme
from accounting.units import hours

PROGRAMME_HEAD = (
    "institution",
    "kind",
    "month",
    "gpu_hours",
    "gpu_seconds",
    "provisional_gpu_seconds",
    "as_of",
    "complete_until",
)


def programme_lines(programme: Programme) -> Iterator[tuple[str, ...]]:
    """The head, then one line per row and month that has any use. Times are UTC."""
    yield PROGRAMME_HEAD
    as_of = f"{programme.as_of:%Y-%m-%dT%H:%M:%SZ}"
    until = f"{programme.complete_until:%Y-%m-%dT%H:%M:%SZ}" if programme.complete_until else ""
    for row in programme.usage.rows:
        for month, cell in sorted(row.by_month.items()):
            yield (
                name_of(row).strip(),
                row.kind,
                str(month),
                str(hours(cell.gpu_seconds)),
                str(cell.gpu_seconds),
                str(cell.provisional),
                as_of,
                until,
            )


CORRECTIONS_HEAD = (
    "dated",
    "month",
    "institution",
    "kind",
    "gpu_hours",
    "gpu_seconds",
    "weighted_gpu_seconds",
    "as_of",
)


def correction_lines(found: Corrections) -> Iterator[tuple[str, ...]]:
    """The head, then one line for each month of entry, month that it concerns, and row."""
    yield CORRECTIONS_HEAD
    for row in found.rows:
        yield (
            str(row.dated),
            str(row.month),
            name_of(row).strip(),
            row.kind,
            str(hours(row.gpu_seconds)),
            str(row.gpu_seconds),
            str(row.weighted_gpu_seconds),
            f"{found.as_of:%Y-%m-%dT%H:%M:%SZ}",
        )
