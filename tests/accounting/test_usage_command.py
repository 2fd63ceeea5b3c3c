"""`manage.py usage`: the facts for scripts, as JSON or CSV, whole and to the second."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from accounting.models import Allocation
from accounting.usage import record_runs
from tests.factories import RunFactory


@pytest.fixture(autouse=True)
def used(allocation: Allocation) -> None:
    """2 GPUs from 23:00 to 00:30 for the project, 1 GPU for an hour for an account of nobody."""
    runs = [
        RunFactory.create(
            start=datetime(2026, 3, 10, 23, tzinfo=UTC), end=datetime(2026, 3, 11, 0, 30, tzinfo=UTC)
        ),
        RunFactory.create(account="root", gpus=1),
    ]
    record_runs(runs, cluster=allocation.cluster, as_of=datetime(2026, 4, 1, tzinfo=UTC), in_queue=())


def usage(*options: str) -> str:
    out = io.StringIO()
    call_command("usage", *options, stdout=out)
    return out.getvalue()


def rows(*options: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(usage(*options))
    return found


def test_by_day() -> None:
    found = [(row["cluster"], row["account"], row["day"], row["gpu_seconds"]) for row in rows("--by", "day")]
    assert found == [
        ("firefly", "root", "2026-03-10", 3600),
        ("firefly", "squeezed-light", "2026-03-10", 7200),
        ("firefly", "squeezed-light", "2026-03-11", 3600),
    ]


def test_by_account() -> None:
    unowned, owned = rows("--by", "account")
    assert (owned["cluster"], owned["account"], owned["day"], owned["gpu_seconds"]) == (
        "firefly",
        "squeezed-light",
        None,
        10_800,
    )
    assert (owned["institution"], owned["project"]) == ("Northlake University", "squeezed-light")
    assert (unowned["account"], unowned["institution"], unowned["project"]) == ("root", None, None)


def test_by_institution_with_the_unassigned_last() -> None:
    found = [
        (row["institution"], row["cluster"], row["account"], row["gpu_seconds"])
        for row in rows("--by", "institution")
    ]
    assert found == [("Northlake University", None, None, 10_800), (None, None, None, 3600)]


def test_days_are_included_on_both_ends() -> None:
    assert (
        sum(row["gpu_seconds"] for row in rows("--by", "day", "--from", "2026-03-11", "--to", "2026-03-11"))
        == 3600
    )
    assert rows("--from", "2027-01-01") == []


def test_csv_has_the_same() -> None:
    found = list(csv.DictReader(io.StringIO(usage("--by", "day", "--format", "csv"))))
    assert [int(line["gpu_seconds"]) for line in found] == [3600, 7200, 3600]
    assert {"cluster", "account", "day", "institution", "project"} <= found[0].keys()


@pytest.mark.parametrize(
    "options",
    [
        ("--from", "yesterday"),
        ("--to", "2026-02-30"),
        ("--from", "2026-03-02", "--to", "2026-03-01"),
        ("--by", "moon"),
        ("--format", "xml"),
    ],
)
def test_a_wrong_option_is_a_sentence(options: tuple[str, ...]) -> None:
    with pytest.raises(CommandError) as error:
        usage(*options)
    assert str(error.value)
