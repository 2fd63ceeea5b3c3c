"""What Slurm's own books say, and how it is read: the words are recorded from 22.05."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jobs.schedulers import Answer, AnswerError, Call
from jobs.schedulers.slurm import Slurm

SLURM = Slurm()
DATA = Path(__file__).resolve().parent.parent / "data"
BEGIN = datetime(2026, 11, 24, tzinfo=UTC)
END = BEGIN + timedelta(days=1)
NOTHING = Answer(0, "", "")


def recorded(report: str) -> Answer:
    return Answer(0, (DATA / f"sreport-{report}.txt").read_text(), "")


def test_it_asks_for_whole_hours_in_utc() -> None:
    hours = ("2026-11-24T00:00:00", "2026-11-25T00:00:00")
    accounts, reservations = SLURM.books(BEGIN, END)
    assert accounts == Call("sreport", ("accounts", *hours))
    assert reservations == Call("sreport", ("reservations", *hours))
    assert SLURM.is_rolled_up(BEGIN, END) == Call("sreport", ("utilization", *hours))


def test_a_part_of_an_hour_is_never_asked() -> None:
    with pytest.raises(ValueError, match="whole hours"):
        SLURM.books(BEGIN, END - timedelta(minutes=1))


def test_an_account_s_own_usage_is_its_users() -> None:
    """The accounts' own rows hold what is below them as well: 290 six times over would be five times too much."""
    books = SLURM.read_books([recorded("accounts"), NOTHING], END)
    assert (books.by_account, books.until, books.idle) == ({"p1": 60, "p2": 230}, END, 0)


def test_one_who_was_taken_out_of_an_account_is_still_counted() -> None:
    assert "p1|fp-fx-alice|50" in recorded("accounts").stdout  # her association with p1 was removed by then


def test_rows_that_are_not_shown_are_no_usage_of_nobody() -> None:
    """Who is no Operator gets the accounts' whole sums, only their own rows, and exit code 0."""
    mine = "\n".join(line for line in recorded("accounts").stdout.splitlines() if "alice" not in line)
    with pytest.raises(AnswerError, match="Operator"):
        SLURM.read_books([Answer(0, f"{mine}\n", ""), NOTHING], END)


def test_time_reserved_for_an_account_and_idle_is_no_usage_of_it() -> None:
    said = "root||160\nportal||160\np1||160\np1|fp-mei|60\n"
    reserved = Answer(0, "r1|gres/gpu|120\nr1|cpu|9\n", "")
    books = SLURM.read_books([Answer(0, said, ""), reserved], END)
    assert (books.by_account, books.idle) == ({"p1": 60}, 20)


def test_reservations_of_nodes_are_of_no_devices() -> None:
    assert SLURM.read_books([recorded("accounts"), recorded("reservations")], END).idle == 0


def test_no_usage_at_all_is_an_answer() -> None:
    assert SLURM.read_books([NOTHING, NOTHING], END).by_account == {}


def test_an_hour_that_is_not_added_up_is_not_there() -> None:
    assert SLURM.read_is_rolled_up(recorded("utilization"))
    assert not SLURM.read_is_rolled_up(NOTHING)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(None, "", ""),
        Answer(1, "root||290\n", "sreport: error: Problem talking to the database: Connection refused"),
        Answer(0, "", "sreport: error: Problem talking to the database: Connection refused"),
        Answer(0, "root||290\n", "", truncated=True),
        Answer(0, "root||29", ""),
        Answer(0, "root||290|1\n", ""),
        Answer(0, "root||many\n", ""),
        Answer(0, "root||-1\n", ""),
        Answer(0, "p1|fp-mei|60\n", ""),  # no total
        Answer(0, "root||50\np1|fp-mei|60\n", ""),
    ],
)
def test_an_answer_that_is_not_understood_is_never_zero(answer: Answer) -> None:
    with pytest.raises(AnswerError):
        SLURM.read_books([answer, NOTHING], END)
