"""import_sacct: all worked cases give exactly their figures, through the command and out again through `usage`."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from accounting.models import GpuWeight, LedgerEntry, QuarantinedRecord, UsageDay, UsageRecord
from portal.models import Project
from tests.factories import ClusterFactory

CASES: dict[str, Any] = json.loads((Path(__file__).parent.parent / "data" / "sacct-cases.json").read_text())
HEADER = "|".join(CASES["columns"])
PLAIN = "alpha|7|7|7|{account}|u1|gpu|normal|{day}|{day}|2025-06-10T11:00:00|3600|00:00:00|COMPLETED|0|1||gres/gpu=4|x"

pytestmark = pytest.mark.django_db


def write(tmp_path: Path, lines: list[str]) -> Path:
    file = tmp_path / "records.txt"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def run_import(file: Path, **options: str) -> str:
    said = StringIO()
    call_command("import_sacct", str(file), cluster="alpha", stdout=said, stderr=StringIO(), **options)
    return said.getvalue()


def weigh(case: dict[str, Any]) -> None:
    """The site's weights, as the case has them."""
    cluster = ClusterFactory.create(name="alpha", shards_per_gpu=case.get("shards_per_gpu"))
    for gpu_type, weight in case.get("weights", {}).items():
        GpuWeight.objects.create(
            cluster=cluster, gpu_type=gpu_type, weight=Decimal(weight), valid_from=date(2020, 1, 1)
        )


def usage_by_day(figure: str = "gpu_seconds") -> dict[str, int]:
    said = StringIO()
    call_command("usage", by="day", format="json", stdout=said)
    days: dict[str, int] = {}
    for row in json.loads(said.getvalue()):
        days[row["day"]] = days.get(row["day"], 0) + row[figure]
    return {day: sum for day, sum in days.items() if sum}


@pytest.mark.parametrize("case", CASES["cases"], ids=lambda case: str(case["name"]))
def test_a_worked_case_gives_its_figures(case: dict[str, Any], tmp_path: Path) -> None:
    options = {"as_of": CASES["as_of"], "active_jobs": ",".join(case.get("active_job_ids", []))}
    if "delimiter" in case:
        options["delimiter"] = case["delimiter"]
    if "source_tz" in case:
        options["timezone"] = case["source_tz"]
    file = write(tmp_path, case["sacct"])
    weigh(case)

    run_import(file, **options)

    weighted = case.get("expected_weighted_by_day", case["expected_gpu_seconds_by_day"])
    assert usage_by_day("weighted_gpu_seconds") == weighted
    assert usage_by_day() == case["expected_gpu_seconds_by_day"]
    assert sum(record.gpu_seconds for record in UsageRecord.objects.all()) == case["expected_total"]
    found = sorted(record.anomaly for record in UsageRecord.objects.exclude(anomaly=""))
    assert found == sorted(case.get("anomalies", []))
    assert UsageRecord.objects.filter(provisional=True).exists() == case.get("provisional", False)

    again = run_import(file, **options)

    assert usage_by_day() == case["expected_gpu_seconds_by_day"]
    assert again.startswith("0 new, ")


def test_it_charges_an_owned_account_once_and_shows_others_as_unassigned(
    tmp_path: Path, project: Project
) -> None:
    project.allocations.update(start="2025-01-01", end="2030-01-01")
    lines = [HEADER] + [
        PLAIN.replace("|7|7|7|", f"|{number}|{number}|{number}|").format(
            account=account, day="2025-06-10T10:00:00"
        )
        for number, account in ((7, project.account), (8, "strangers"))
    ]
    file = write(tmp_path, lines)

    said = run_import(file)
    run_import(file)

    assert "1 on accounts that no project owns" in said
    assert UsageDay.objects.get(account="strangers").project is None
    # These are of a cluster that the project has no hours on: kept as usage, charged to nobody.
    assert not LedgerEntry.objects.filter(kind="charge").exists()


def test_a_line_that_cannot_be_read_stops_nothing_and_is_kept(tmp_path: Path) -> None:
    good = PLAIN.format(account="proj1", day="2025-06-10T10:00:00")
    bad = good.replace("2025-06-10T11:00:00", "11 o'clock").replace("|7|7|7|", "|9|9|9|")

    said = run_import(write(tmp_path, [HEADER, bad, "cut off", good]))

    assert "2 could not be read" in said
    assert QuarantinedRecord.objects.count() == 2
    assert usage_by_day() == {"2025-06-10": 14400}


def test_the_longest_words_and_largest_numbers_that_are_read_are_kept(tmp_path: Path) -> None:
    columns = "Cluster|DBIndex|JobIDRaw|JobID|Account|User|Partition|QOS|Submit|Start|End|State|ExitCode|TimelimitRaw|AllocTRES"
    words = "|".join(letter * 100 for letter in "aupq")
    record = (
        f"alpha|{'9' * 18}|{'8' * 18}|{'7' * 80}|{words}|2025-06-10T10:00:00|2025-06-10T10:00:00"
        f"|2025-06-10T11:00:00|{'S' * 30}|{'0' * 20}|{'9' * 9}|gres/gpu=9999999,gres/shard=9999999"
    )

    assert run_import(write(tmp_path, [columns, record])).startswith("1 new")

    kept = UsageRecord.objects.get()
    assert (kept.account, kept.job_id, kept.state) == ("a" * 100, "7" * 80, "S" * 30)
    assert (kept.gpu_seconds, kept.time_limit_minutes) == (9999999 * 3600, 999_999_999)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"timezone": "../../etc/passwd"}, "no such time zone"),
        ({"timezone": "Mars/Olympus"}, "no such time zone"),
        ({"as_of": "yesterday"}, "write it like 2025-12-31T12:00:00"),
        ({"as_of": "2025-02-30T00:00:00"}, "write it like"),
    ],
)
def test_a_bad_option_is_said_in_words(options: dict[str, str], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=sentence):
        run_import(write(tmp_path, [HEADER]), **options)


def test_a_file_without_the_needed_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="AllocTRES"):
        run_import(write(tmp_path, ["JobIDRaw|Account|Start|End|State", "1|a|x|y|z"]))


def test_a_missing_file_is_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="No such file"):
        run_import(tmp_path / "nowhere.txt")
