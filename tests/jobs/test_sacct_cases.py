"""Worked cases: what a table of the scheduler's accounting must come to, to the GPU-second."""

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from accounting.runs import Holding, Run, holding
from jobs.schedulers.sacct import read_table

DOCUMENT = json.loads((Path(__file__).parent.parent / "data" / "sacct-cases.json").read_text())
AS_OF = datetime.fromisoformat(DOCUMENT["as_of"]).replace(tzinfo=UTC)
CASES = DOCUMENT["cases"]


def holdings(case: dict[str, Any]) -> list[Holding]:
    """The case's records, a later one in the place of an earlier one of the same identity."""
    zone = ZoneInfo(case.get("source_tz", "UTC"))
    table = "\n".join(case["sacct"]) + "\n"
    runs: dict[tuple[str, str], Run] = {}
    for item in read_table(table, delimiter=case.get("delimiter"), zone=zone):
        assert isinstance(item, Run), item
        runs[item.identity] = item
    active = case.get("active_job_ids", [])
    return [holding(run, as_of=AS_OF, in_queue=run.job_id_raw in active) for run in runs.values()]


def test_all_cases_are_here() -> None:
    assert len(CASES) == 36


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_it_comes_to_the_figures_of_the_case(case: dict[str, Any]) -> None:
    days: Counter[str] = Counter()
    held = holdings(case)
    for one in held:
        for day, seconds in one.by_day():
            days[day.isoformat()] += seconds
    assert dict(days) == case["expected_gpu_seconds_by_day"]
    assert sum(one.gpu_seconds for one in held) == case["expected_total"]
    assert [str(one.anomaly) for one in held if one.anomaly] == case.get("anomalies", [])
    assert any(one.provisional for one in held) == case.get("provisional", False)
