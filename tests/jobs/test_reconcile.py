"""Asking a cluster for its books: how far they go, through a real gateway; and the command that compares."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from accounting.books import Books
from accounting.models import Cluster, Discrepancy, Reconciliation
from jobs import reconciling
from jobs.clusters import Door
from jobs.schedulers import AnswerError
from jobs.tasks import reconcile
from tests.factories import CollectionFactory
from tests.jobs.test_clusters import LoginNodeOfTests, login_node

DAY = date(2026, 3, 10)
BEGIN = datetime(2026, 3, 10, tzinfo=UTC)
END = BEGIN + timedelta(days=1)

# Its books hold the hours before $until. A report's hours stand in its last two arguments.
SREPORT = """
for word; do case $word in start=*) start=${word#start=};; end=*) end=${word#end=};; esac; done
case "$*" in
  *AccountUtilizationByUser*) printf 'root||70\\np1||70\\np1|fp-mei|70\\n';;
  *"cluster Utilization"*) [ "$start" "<" "UNTIL" ] && echo 'gres/gpu|3600';;
esac
echo "$@" >> ~/asked
exit 0
"""


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[LoginNodeOfTests]:
    yield from login_node(tmp_path, "collector")


def books(node: LoginNodeOfTests, until: str) -> Books:
    node.gateway.slurm("sreport", SREPORT.replace("UNTIL", until))
    with Door(node.site()) as door:
        return door.books(BEGIN, END)


def test_a_day_that_is_added_up_is_read_in_one_exchange(collector: LoginNodeOfTests) -> None:
    said = books(collector, "2026-03-11T00:00:00")
    assert said == Books({"p1": 70}, END, 0)
    asked = (collector.gateway.home / "asked").read_text().splitlines()
    assert len(asked) == 3
    assert all(line.startswith("-t seconds -T gres/gpu -P -n ") for line in asked)


def test_a_day_that_is_not_is_read_so_far_as_it_is(collector: LoginNodeOfTests) -> None:
    assert books(collector, "2026-03-10T13:00:00") == Books({"p1": 70}, BEGIN + timedelta(hours=13), 0)
    last = (collector.gateway.home / "asked").read_text().splitlines()[-1]
    assert last.endswith("start=2026-03-10T00:00:00 end=2026-03-10T13:00:00")


def test_a_day_of_which_nothing_is_added_up_has_no_sums(collector: LoginNodeOfTests) -> None:
    assert books(collector, "2026-03-01T00:00:00") == Books({}, BEGIN, 0)


def test_an_hour_that_is_not_over_is_never_asked(collector: LoginNodeOfTests) -> None:
    """sreport would answer for a part of it, another one in each half of the hour."""
    collector.gateway.slurm("sreport", SREPORT.replace("UNTIL", "9999"))
    with Door(collector.site()) as door:
        earliest = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        said = door.books(BEGIN, earliest + timedelta(hours=2))
        assert earliest <= said.until <= datetime.now(UTC)
        ahead = said.until + timedelta(hours=5)
        assert door.books(ahead, ahead + timedelta(hours=1)) == Books({}, ahead, 0)


def test_books_that_do_not_answer_are_an_error(collector: LoginNodeOfTests) -> None:
    collector.gateway.slurm("sreport", "echo 'sreport: error: Connection refused' >&2; exit 1")
    with Door(collector.site()) as door, pytest.raises(AnswerError, match="Connection refused"):
        door.books(BEGIN, END)


@pytest.mark.parametrize(
    "words",
    [
        ("accounts", "2026-03-10T00:00:00", "2026-03-10T00:30:00"),
        ("accounts", "now-1day", "now"),
        ("TopUser", "2026-03-10T00:00:00", "2026-03-11T00:00:00"),
        ("accounts|utilization", "2026-03-10T00:00:00", "2026-03-11T00:00:00"),
        ("accounts", "2026-03-10T00:00:00\n", "2026-03-11T00:00:00"),
        ("accounts", "2026-03-10T00:00:00"),
    ],
)
def test_the_gateway_takes_reports_and_whole_hours_only(
    collector: LoginNodeOfTests, words: tuple[str, ...]
) -> None:
    collector.gateway.slurm("sreport", "touch ~/called")
    (result,) = collector.gateway.run(("sreport", list(words), ""), role="collector")
    assert result["exit"] == 64
    assert not (collector.gateway.home / "called").exists()


# ── Comparing ────────────────────────────────────────────────────────────────


class Asked:
    """Stands where the cluster's door is, with prepared books for every day."""

    def __init__(self, by_account: dict[str, int] | AnswerError) -> None:
        self.by_account = by_account

    def __enter__(self) -> Asked:
        return self

    def __exit__(self, *_: object) -> None: ...

    def books(self, begin: datetime, end: datetime) -> Books:
        if isinstance(self.by_account, AnswerError):
            raise self.by_account
        return Books(self.by_account, end, 0)


def answering(monkeypatch: pytest.MonkeyPatch, by_account: dict[str, int] | AnswerError) -> None:
    monkeypatch.setattr(reconciling, "connect_to", lambda _name: Asked(by_account))


def said(**options: str) -> str:
    out = StringIO()
    call_command("reconcile", cluster="firefly", first=DAY, last=DAY, stdout=out, **options)
    return out.getvalue()


@pytest.fixture
def read(firefly: Cluster) -> Cluster:
    CollectionFactory.create(cluster=firefly)
    return firefly


def test_the_command_says_that_all_agrees(read: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, {})
    assert "2026-03-10                 0               0  agrees" in said()


def test_the_command_fails_while_something_is_open(read: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, {"p1": 3600})
    with pytest.raises(CommandError, match="1 differences are open") as refused:
        said()
    assert refused.value.returncode == 1
    assert Discrepancy.objects.open().get().theirs == 3600


def test_a_cluster_that_does_not_answer_is_another_failure(
    read: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, AnswerError("sreport did not end in time.", transient=True))
    with pytest.raises(CommandError, match="Not every day") as refused:
        said()
    assert refused.value.returncode == 2
    assert Reconciliation.objects.get().trouble == "sreport did not end in time."


def test_the_night_compares_every_cluster_that_takes_jobs(
    read: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, {})
    reconcile()
    assert Reconciliation.objects.filter(cluster=read, trouble="").count() == 8


@pytest.mark.parametrize(
    ("first", "last"), [(DAY, DAY - timedelta(days=1)), (DAY - timedelta(days=500), DAY)]
)
def test_the_command_wants_some_days(read: Cluster, first: date, last: date) -> None:
    with pytest.raises(CommandError, match="days"):
        call_command("reconcile", cluster="firefly", first=first, last=last)


def test_the_command_knows_the_cluster(db: None) -> None:
    with pytest.raises(CommandError, match="no cluster"):
        call_command("reconcile", cluster="nowhere")
