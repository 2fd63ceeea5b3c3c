"""Tables that are broken, odd or hostile: every record is read exactly or given back with the reason."""

import io
from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from accounting.runs import Run
from jobs.schedulers import Rejected
from jobs.schedulers.sacct import TableError, read_table

BERLIN = ZoneInfo("Europe/Berlin")
HEADER = "Cluster|DBIndex|JobIDRaw|JobID|Account|User|Submit|Start|End|ElapsedRaw|Suspended|State|AllocTRES|JobName"
GOOD = {
    "Cluster": "alpha",
    "DBIndex": "7",
    "JobIDRaw": "1",
    "JobID": "1",
    "Account": "proj1",
    "User": "u1",
    "Submit": "2025-06-10T09:00:00",
    "Start": "2025-06-10T10:00:00",
    "End": "2025-06-10T11:00:00",
    "ElapsedRaw": "3600",
    "Suspended": "00:00:00",
    "State": "COMPLETED",
    "AllocTRES": "cpu=8,gres/gpu=2,node=1",
    "JobName": "train",
}


def line(**changes: str) -> str:
    return "|".join({**GOOD, **changes}.values())


def parsable(delimiter: str, *rows: Sequence[str]) -> str:
    return "".join(delimiter.join((*row, "")) + "\n" for row in rows)


def read(
    table: str | bytes, delimiter: str | None = None, zone: tzinfo = UTC, cluster: str = ""
) -> tuple[list[Run], list[Rejected]]:
    source = table if isinstance(table, str) else io.BytesIO(table)
    items = list(read_table(source, delimiter=delimiter, zone=zone, cluster=cluster))
    runs = [item for item in items if isinstance(item, Run)]
    return runs, [item for item in items if isinstance(item, Rejected)]


def one(**changes: str) -> Run:
    (run,), rejected = read(f"{HEADER}\n{line(**changes)}\n")
    assert not rejected
    return run


def reason(**changes: str) -> str:
    """Why a record with these fields is given back; a good one after it is read all the same."""
    runs, (rejected,) = read(f"{HEADER}\n{line(**changes)}\n{line(JobIDRaw='2', DBIndex='8')}\n")
    assert [run.job_id_raw for run in runs] == ["2"]
    return rejected.reason


# ── Columns ──────────────────────────────────────────────────────────────────


def test_it_reads_columns_in_any_order_and_without_the_optional_ones() -> None:
    table = (
        "AllocTRES|State|End|Start|Submit|Account|JobIDRaw\n"
        "gres/gpu=3|FAILED|2025-06-10T11:00:00|2025-06-10T10:00:00|2025-06-10T09:00:00|p|5\n"
    )
    (run,), rejected = read(table, cluster="gamma")
    assert (run.cluster, run.job_id, run.gpus, run.state, run.db_index) == ("gamma", "5", 3, "FAILED", "")
    assert run.identity == ("gamma", "5@2025-06-10T09:00:00")
    assert not rejected


@pytest.mark.parametrize("missing", ["JobIDRaw", "Account", "Start", "End", "State", "AllocTRES"])
def test_it_names_the_column_that_is_missing(missing: str) -> None:
    with pytest.raises(TableError, match=missing):
        read(HEADER.replace(missing, "Nothing") + "\n")


def test_it_wants_something_that_identifies_a_record() -> None:
    with pytest.raises(TableError, match="DBIndex or Submit"):
        read(HEADER.replace("DBIndex", "A").replace("Submit", "B") + "\n")


@pytest.mark.parametrize("table", ["", "\n", "\x00\x01", HEADER.replace("|", ";"), HEADER + "|Account"])
def test_it_says_at_once_that_this_is_no_table(table: str) -> None:
    with pytest.raises(TableError):
        read(table)


def test_it_reads_a_table_that_another_program_saved() -> None:
    table = f"\ufeff{HEADER}\n{line()}\n".replace("\n", "\r\n").encode()
    (run,), rejected = read(table)
    assert run.cluster == "alpha" and not rejected


def test_it_minds_no_empty_line_and_no_missing_last_line_end() -> None:
    runs, rejected = read(f"{HEADER}\n\n{line()}\n\n{line(DBIndex='8')}")
    assert len(runs) == 2 and not rejected


# ── Fields ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("tres", "gpus"),
    [
        ("", 0),
        ("cpu=8,node=1", 0),
        ("gres/gpu=4", 4),
        ("gres/gpu:a100=2,gres/gpu:h100=1", 3),
        ("gres/gpu=4,gres/gpu:a100=2", 4),
        ("gres/gpu:a100_1g.5gb=7", 7),
        ("billing=9,gres/gpumem=80G,gres/gpuutil=99,gres/shard=8", 0),
        ("gres/gpu=0", 0),
    ],
)
def test_it_counts_devices_and_nothing_else(tres: str, gpus: int) -> None:
    assert one(AllocTRES=tres).gpus == gpus


def test_it_leaves_steps_out() -> None:
    table = f"{HEADER}\n{line(JobID='1.batch')}\n{line(JobID='1', JobIDRaw='1.0')}\n"
    assert read(table) == ([], [])


@pytest.mark.parametrize("word", ["Unknown", "None", "", "N/A"])
def test_a_time_that_is_not_known_is_no_time(word: str) -> None:
    run = one(Start=word, End=word)
    assert (run.start, run.end) == (None, None)


@pytest.mark.parametrize(
    ("text", "state"),
    [("CANCELLED by 1001", "CANCELLED"), ("CANCELLED by u1", "CANCELLED"), ("COMPLETED+", "COMPLETED")],
)
def test_it_takes_the_word_of_a_state(text: str, state: str) -> None:
    assert one(State=text).state == state


@pytest.mark.parametrize(
    "changes",
    [
        {"Start": "10.06.2025 10:00"},
        {"Start": "2025-02-30T10:00:00"},
        {"Start": "2025-06-10T10:00:00Z"},
        {"Start": "٢٠٢٥-06-10T10:00:00"},
        {"End": "0000-01-01T00:00:00"},
        {"JobIDRaw": "one"},
        {"JobIDRaw": ""},
        {"DBIndex": "-1"},
        {"DBIndex": "0", "Submit": "Unknown"},
        {"AllocTRES": "gres/gpu=many"},
        {"AllocTRES": "gres/gpu=-4"},
        {"AllocTRES": "gres/gpu=1.5"},
        {"AllocTRES": "gres/gpu=٤"},
        {"AllocTRES": "gres/gpu=1,gres/gpu=2"},
        {"AllocTRES": "gres/gpu"},
        {"Account": "pro\x1bj"},
        {"Account": "a" * 101},
        {"JobID": "7_" + "1" * 80},
        {"State": "A" * 31},
        {"AllocTRES": "gres/gpu=2147483648"},
        {"AllocTRES": "gres/shard=2147483648"},
        {"State": "all well"},
        {"State": ""},
    ],
    ids=str,
)
def test_it_gives_back_what_it_cannot_read(changes: dict[str, str]) -> None:
    assert reason(**changes)


def test_it_gives_back_bytes_that_are_no_text_only_where_they_matter() -> None:
    table = f"{HEADER}\n{line(Account='pro!')}\n{line(JobName='caf!')}\n".encode().replace(b"!", b"\xe9")
    runs, rejected = read(table)
    assert [run.account for run in runs] == ["proj1"]
    assert "Account" in rejected[0].reason


# ── Lines ────────────────────────────────────────────────────────────────────


def test_a_name_that_ends_a_line_can_forge_nothing_but_a_rejected_record() -> None:
    runs, rejected = read(f"{HEADER}\n{line(JobName='x')}\ny|z\n")
    assert len(runs) == 1 and len(rejected) == 1


def test_a_carriage_return_in_a_name_ends_no_line() -> None:
    runs, rejected = read(f"{HEADER}\n{line(JobName='a' + chr(13) + 'b')}\n".encode())
    assert len(runs) == 1 and not rejected


def test_a_cut_line_is_given_back() -> None:
    runs, (rejected,) = read(f"{HEADER}\n{line()}\n{line()[:60]}")
    assert len(runs) == 1
    assert rejected.record == line()[:60]


def test_a_line_that_is_there_twice_is_the_same_record() -> None:
    runs, _ = read(f"{HEADER}\n{line()}\n{line()}\n")
    assert len({run.identity for run in runs}) == 1


def test_lines_may_all_end_with_the_delimiter() -> None:
    (run,), rejected = read(f"{HEADER}|\n{line(JobName='a|b')}|\n")
    assert run.account == "proj1" and not rejected


# ── Parsable tables ──────────────────────────────────────────────────────────

D = "@8d1f6c@"
NAMES = tuple(GOOD)


def row(**changes: str) -> list[str]:
    return list({**GOOD, **changes}.values())


def test_newlines_in_a_name_do_no_harm_wherever_the_column_stands() -> None:
    names = ("JobName", *NAMES[:-1])
    rows = [(f"x\n{line()}\n", *row(DBIndex=str(n))[:-1]) for n in (1, 2)]
    middle = [*NAMES[:5], "JobName", *NAMES[5:-1]]
    for table in (
        parsable(D, NAMES, row(JobName=f"\n{line()}"), row(DBIndex="2", JobName="\n\n")),
        parsable(D, middle, [*row()[:5], "\n", *row()[5:-1]], [*row(DBIndex="2")[:5], "a\nb", *row()[5:-1]]),
    ):
        runs, rejected = read(table, D)
        assert [run.db_index for run in runs] == ["7", "2"] and not rejected
    runs, _ = read(parsable(D, names, *rows), D)
    assert [run.db_index for run in runs] == ["1", "2"]


@pytest.mark.parametrize("cut", [0, 1, 5, 20, 60, 100, 150])
def test_a_record_cut_anywhere_costs_no_other(cut: int) -> None:
    whole = parsable(D, row(DBIndex="1"))
    table = (
        parsable(D, NAMES, row(DBIndex="0", Submit="Unknown"))
        + whole[:cut]
        + "\n"
        + parsable(D, row(DBIndex="2"))
    )
    runs, rejected = read(table, D)
    assert [run.db_index for run in runs] == ["2"]
    assert rejected


def test_the_last_record_may_be_cut() -> None:
    whole = parsable(D, NAMES, row(DBIndex="1"), row(DBIndex="2"))
    for cut in range(len(parsable(D, NAMES, row(DBIndex="1"))) + 1, len(whole) - 1):
        runs, rejected = read(whole[:cut], D)
        assert [run.db_index for run in runs] == ["1"]
        assert len(rejected) == 1


def test_a_record_with_too_many_fields_costs_no_other() -> None:
    runs, rejected = read(parsable(D, NAMES, [*row(DBIndex="1"), "more"], row(DBIndex="2")), D)
    assert [run.db_index for run in runs] == ["2"]
    assert len(rejected) == 1


def test_a_file_with_its_own_delimiter_but_without_it_at_the_end_is_lines() -> None:
    (run,), rejected = read("\n".join((";".join(NAMES), ";".join(row(JobName="a;b")))), ";")
    assert run.gpus == 2 and not rejected


def test_it_reads_as_it_goes() -> None:
    class Endless(io.RawIOBase):
        """A file without an end: whoever wants all of it at once never returns."""

        def __init__(self) -> None:
            self.rest = parsable(D, NAMES).encode()

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            self.rest = self.rest or parsable(D, row()).encode()
            taken, self.rest = self.rest[: len(buffer)], self.rest[len(buffer) :]
            buffer[: len(taken)] = taken
            return len(taken)

    items = read_table(io.BufferedReader(Endless()), delimiter=D)
    assert [isinstance(next(items), Run) for _ in range(1000)] == [True] * 1000


# ── Zones ────────────────────────────────────────────────────────────────────


def local(
    start: str, end: str, elapsed: str, suspended: str = "00:00:00"
) -> tuple[list[Run], list[Rejected]]:
    row = line(Start=f"2025-10-26T{start}", End=f"2025-10-26T{end}", ElapsedRaw=elapsed, Suspended=suspended)
    return read(f"{HEADER}\n{row}\n", zone=BERLIN)


@pytest.mark.parametrize(
    ("start", "end", "elapsed", "suspended", "utc"),
    [
        ("02:30:00", "04:00:00", "9000", "00:00:00", "00:30"),
        ("02:30:00", "04:00:00", "5400", "00:00:00", "01:30"),
        ("02:50:00", "02:10:00", "1200", "00:00:00", "00:50"),
        ("02:30:00", "04:00:00", "8000", "16:40", "00:30"),
        ("02:30:00", "04:00:00", "3600", "00:30:00", "01:30"),
    ],
)
def test_elapsed_tells_the_first_from_the_second(
    start: str, end: str, elapsed: str, suspended: str, utc: str
) -> None:
    (run,), rejected = local(start, end, elapsed, suspended)
    assert run.start and f"{run.start:%H:%M}" == utc
    assert not rejected


def test_no_reading_is_guessed() -> None:
    runs, (rejected,) = local("02:30:00", "04:00:00", "1234")
    assert not runs and "twice" in rejected.reason


def test_an_open_end_leaves_the_earlier_reading() -> None:
    row = line(Start="2025-10-26T02:30:00", End="Unknown", State="RUNNING")
    (run,), _ = read(f"{HEADER}\n{row}\n", zone=BERLIN)
    assert run.start == datetime(2025, 10, 26, 0, 30, tzinfo=UTC)


def test_a_time_at_the_edge_of_all_times_is_given_back() -> None:
    _, (rejected,) = read(f"{HEADER}\n{line(End='9999-12-31T23:59:59')}\n", zone=ZoneInfo("America/New_York"))
    assert "End" in rejected.reason
