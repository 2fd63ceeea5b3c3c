"""A requeued job has several records under one id: only that of its last run may end it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from accounting.runs import Run
from jobs import last_word
from jobs.spec import QueueEntry
from tests.factories import RunFactory

BEGAN = datetime(2026, 11, 30, 12, tzinfo=UTC)
NOW = BEGAN + timedelta(minutes=3)


def run(state: str, *, submit: int = 0, start: int | None = 0, end: int | None = 60, index: str = "5") -> Run:
    """Times in seconds after BEGAN."""
    return RunFactory.create(
        job_id="7",
        job_id_raw="7",
        db_index=index,
        state=state,
        submit=BEGAN + timedelta(seconds=submit),
        start=None if start is None else BEGAN + timedelta(seconds=start),
        end=None if end is None else BEGAN + timedelta(seconds=end),
    )


def shown(state: str, *, submit: int = 0, start: int | None = 0) -> QueueEntry:
    return QueueEntry(
        *("7", "7", "a" * 26, "pqo", "fp-mei", "a100", state, "None"),
        submitted_at=BEGAN + timedelta(seconds=submit),
        started_at=None if start is None else BEGAN + timedelta(seconds=start),
        ended_at=None,
    )


def test_the_newest_is_by_submission_then_by_the_records_number() -> None:
    first, second = run("NODE_FAIL", index="9"), run("COMPLETED", index="10")
    third = run("FAILED", submit=30, index="0")
    assert last_word.last_runs([second, first]) == {"7": second}
    assert last_word.last_runs([third, second, first]) == {"7": third}


@pytest.mark.parametrize("state", ["NODE_FAIL", "PREEMPTED", "FAILED", "COMPLETED"])
def test_a_record_of_an_earlier_submission_than_the_queue_shows_is_not_the_end(state: str) -> None:
    """As on a real Slurm: the second run is over, and slurmdbd does not show it yet."""
    assert not last_word.is_last(run(state), shown("COMPLETED", submit=60, start=120), NOW)


def test_nor_is_one_of_an_earlier_start_where_both_were_submitted_in_one_second() -> None:
    assert not last_word.is_last(run("NODE_FAIL", end=0), shown("COMPLETED", start=120), NOW)


def test_what_the_queue_shows_as_over_is_over() -> None:
    assert last_word.is_last(run("NODE_FAIL"), shown("NODE_FAIL"), NOW)
    cancelled = run("CANCELLED", submit=60, start=None, end=90)
    assert last_word.is_last(cancelled, shown("CANCELLED", submit=60, start=90), NOW)


def test_a_failed_node_is_believed_to_be_the_end_only_after_a_while_if_the_queue_forgot_the_job() -> None:
    assert not last_word.is_last(run("NODE_FAIL"), None, NOW)
    assert last_word.is_last(run("NODE_FAIL"), None, NOW + last_word.A_WHILE)
    assert last_word.is_last(run("COMPLETED"), None, NOW)


def test_what_runs_or_was_requeued_has_not_ended() -> None:
    assert not last_word.is_last(run("RUNNING", end=None), None, NOW)
    assert not last_word.is_last(run("REQUEUED"), None, NOW + timedelta(days=1))
