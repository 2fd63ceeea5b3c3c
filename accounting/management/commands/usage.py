"""`manage.py usage --by account --from 2026-01-01 --to 2026-01-31 --format csv`: GPU-seconds as the scheduler counted them."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator
from dataclasses import asdict, fields
from datetime import date
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounting.reports.usage_rows import GROUPS, UsageRow, usage
from portal.sheets import csv_text


class Command(BaseCommand):
    help = "Print GPU-seconds by day, account or institution. Days are UTC, and both ends are included."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--by", choices=[*GROUPS], default="account")
        parser.add_argument("--from", dest="first", metavar="YYYY-MM-DD", help="the first day (default: all)")
        parser.add_argument("--to", dest="last", metavar="YYYY-MM-DD", help="the last day (default: all)")
        parser.add_argument("--format", choices=["json", "csv"], default="json")

    def handle(self, **options: Any) -> None:
        first, last = _day("--from", options["first"]), _day("--to", options["last"])
        if first and last and last < first:
            raise CommandError(f"--to {last} is before --from {first}.")
        rows = usage(options["by"], first=first, last=last)
        for piece in _json(rows) if options["format"] == "json" else csv_text(_lines(rows)):
            self.stdout.write(piece, ending="")


def _day(option: str, text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise CommandError(f"{option} {text!r} is no date. Give a day that exists, as 2026-01-31.") from None


def _json(rows: Iterable[UsageRow]) -> Iterator[str]:
    """A list of objects, one a line, however long it is."""
    before = "[\n"
    for row in rows:
        yield before + json.dumps(asdict(row), default=str)
        before = ",\n"
    yield "[]\n" if before == "[\n" else "\n]\n"


def _lines(rows: Iterable[UsageRow]) -> Iterator[list[object]]:
    names = [field.name for field in fields(UsageRow)]
    yield list(names)
    for row in rows:
        yield [getattr(row, name) for name in names]
