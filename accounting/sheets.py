"""Reports as lines of a table, for downloads: the same numbers as on the page. Headings stay English, for scripts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from defusedcsv import csv

from accounting.charts import name_of
from accounting.reports.programmes import Programme
from accounting.units import hours


class _Passing:
    """What csv.writer writes to: hands each line on instead of keeping it."""

    def write(self, line: str) -> str:
        return line


def csv_text(lines: Iterable[Iterable[object]]) -> Iterator[str]:
    """Streams; no cell can be taken for a formula by a spreadsheet."""
    writer = csv.writer(_Passing(), lineterminator="\n")
    return (writer.writerow(line) for line in lines)


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
    for row in programme.rows:
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
