"""Which records are asked for when, and what is believed of a window that was not answered whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounting.models import (
    Allocation,
    Cluster,
    CollectionWindow,
    QuarantinedRecord,
    ReadMonth,
    UsageRecord,
)
from accounting.runs import Run
from jobs import collecting, health, tasks
from jobs.clusters import Pull
from jobs.collecting import Kind
from jobs.dispatch import CLOCKS
from jobs.models import ClusterHealth
from jobs.schedulers import Answer, AnswerError, Records, Rejected, TooMuch
from jobs.schedulers.slurm import Slurm
from jobs.spec import QueueEntry
from jobs.ssh import Unreachable
from portal.models import OutgoingMail, User
from tests.conftest import Bell
from tests.factories import ClusterFactory, RunFactory
from tests.portal.mailbox import delivered

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 4, 20, 12, tzinfo=UTC)
DAY = timedelta(days=1)
D = "@0123456789abcdef@"


class Door:
    """Stands where the cluster's door is: the records with any life in what is asked, or the trouble with it."""

    def __init__(self) -> None:
        self.runs: list[Run] = []
        self.queue: tuple[QueueEntry, ...] = ()
        self.rejected: tuple[Rejected, ...] = ()
        self.trouble: Callable[[datetime, datetime], Exception | None] = lambda since, until: None
        self.asked: list[tuple[datetime, datetime]] = []
        self.most: list[int | None] = []

    def __enter__(self) -> Door:
        return self

    def __exit__(self, *_: object) -> None: ...

    def pull(self, since: datetime, until: datetime, *, most: int | None) -> Pull:
        self.most.append(most)
        self.asked.append((since, until))
        if trouble := self.trouble(since, until):
            raise trouble
        alive = [run for run in self.runs if run.start and run.start <= until and (run.end or until) >= since]
        return Pull(Records(tuple(alive), self.rejected), self.queue, timezone.now())


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> Door:
    door = Door()
    monkeypatch.setattr(collecting, "connect_to", lambda _name: door)
    return door


@pytest.fixture(autouse=True)
def clock() -> Iterator[Any]:
    with time_machine.travel(NOW, tick=False) as clock:
        yield clock


def window(cluster: Cluster, kind: Kind) -> CollectionWindow:
    return CollectionWindow.objects.get(cluster=cluster, kind=kind)


def due(cluster: Cluster) -> list[str]:
    pks = collecting.due()
    kinds = dict(CollectionWindow.objects.filter(cluster=cluster).values_list("pk", "kind"))
    return [kinds[pk] for pk in pks if pk in kinds]


def entry(job_id: str) -> QueueEntry:
    return QueueEntry(
        scheduler_id=job_id,
        job_id_raw=job_id,
        token="",
        account="x",
        user="fp-mei",
        partition="a100",
        state="RUNNING",
        reason="None",
        submitted_at=None,
        started_at=None,
        ended_at=None,
    )


def no_answer(_since: datetime, _until: datetime) -> Exception:
    return AnswerError("sacct failed with exit code 1 and said: nothing", transient=True)


# ── What is due ──────────────────────────────────────────────────────────────


def test_at_first_every_window_is_due_and_then_each_in_its_own_time(
    firefly: Cluster, door: Door, clock: Any
) -> None:
    ClusterFactory.create(name="ember", accepts_jobs=False)  # only accounted
    assert due(firefly) == ["recent", "week", "months"]
    assert CollectionWindow.objects.count() == 3
    for pk in collecting.due():
        collecting.collect_window(pk)
    assert due(firefly) == []
    clock.move_to(NOW + timedelta(minutes=14, seconds=59))
    assert due(firefly) == []
    clock.move_to(NOW + timedelta(minutes=15))
    assert due(firefly) == ["recent"]
    clock.move_to(NOW + DAY)
    assert due(firefly) == ["recent", "week"]
    clock.move_to(NOW + 7 * DAY)
    assert due(firefly) == ["recent", "week", "months"]


def test_the_windows_reach_as_far_back_as_they_say(firefly: Cluster, door: Door) -> None:
    for kind, since, count in (
        (Kind.RECENT, NOW - 2 * DAY, 2),
        (Kind.WEEK, NOW - 8 * DAY, 8),
        (Kind.MONTHS, datetime(2026, 3, 1, tzinfo=UTC), 51),
    ):
        door.asked.clear()
        collecting.collect(firefly.pk, kind)
        assert (door.asked[0][0], len(door.asked)) == (since, count)
        assert all(end - begin <= DAY + CLOCKS for begin, end in door.asked)
        assert door.asked[-1][1] == NOW + CLOCKS
        assert all(left[1] > right[0] for left, right in zip(door.asked, door.asked[1:], strict=False))
        read = window(firefly, kind)
        assert (read.since, read.until, read.trouble, read.under_way) == (since, NOW, "", None)


def test_a_day_after_a_month_is_over_its_records_are_read_so_that_it_can_be_closed(
    firefly: Cluster, door: Door, clock: Any
) -> None:
    clock.move_to(datetime(2026, 4, 30, 12, tzinfo=UTC))
    collecting.collect(firefly.pk, Kind.MONTHS)
    assert [read.month.month for read in ReadMonth.objects.all()] == [3]
    collecting.collect(firefly.pk, Kind.RECENT)
    collecting.collect(firefly.pk, Kind.WEEK)
    clock.move_to(datetime(2026, 5, 1, 23, 59, tzinfo=UTC))
    assert "months" not in due(firefly)
    clock.move_to(datetime(2026, 5, 2, tzinfo=UTC))
    assert "months" in due(firefly)
    collecting.collect(firefly.pk, Kind.MONTHS)
    assert [read.month.month for read in ReadMonth.objects.all()] == [4, 3]


def test_a_month_that_could_not_be_read_in_its_time_is_read_later(
    firefly: Cluster, door: Door, clock: Any
) -> None:
    collecting.collect(firefly.pk, Kind.MONTHS)
    clock.move_to(datetime(2026, 8, 20, tzinfo=UTC))
    collecting.collect(firefly.pk, Kind.MONTHS)
    assert window(firefly, Kind.MONTHS).since == datetime(2026, 4, 1, tzinfo=UTC)
    assert [read.month.month for read in ReadMonth.objects.all()] == [7, 6, 5, 4, 3]


def test_the_beat_rings_for_what_is_due(firefly: Cluster, bell: Bell, door: Door) -> None:
    tasks.collect_records()
    assert len(bell.rang("jobs.tasks.collect_window")) == 3
    [(pk,), *_] = bell.rang("jobs.tasks.collect_window")
    tasks.collect_window(pk)
    assert window(firefly, Kind.RECENT).until == NOW


# ── What is believed ─────────────────────────────────────────────────────────


def test_a_slice_without_an_answer_leaves_the_watermark_and_is_asked_again(
    firefly: Cluster, door: Door, clock: Any
) -> None:
    collecting.collect(firefly.pk, Kind.WEEK)
    clock.move_to(NOW + DAY)
    door.trouble = lambda since, until: no_answer(since, until) if since >= NOW - 3 * DAY else None
    assert collecting.collect(firefly.pk, Kind.WEEK) is None
    broken = window(firefly, Kind.WEEK)
    assert (broken.until, broken.reached) == (NOW, NOW - 3 * DAY)
    assert "exit code 1" in broken.trouble
    assert due(firefly)[:2] == ["recent", "week"]
    door.trouble = lambda since, until: None
    door.asked.clear()
    collecting.collect(firefly.pk, Kind.WEEK)
    assert (door.asked[0][0], len(door.asked)) == (NOW - 3 * DAY, 4)  # not the whole again
    whole = window(firefly, Kind.WEEK)
    assert (whole.since, whole.until, whole.trouble) == (NOW - 7 * DAY, NOW + DAY, "")


def test_a_window_that_broke_off_long_ago_begins_anew(firefly: Cluster, door: Door, clock: Any) -> None:
    door.trouble = no_answer
    collecting.collect(firefly.pk, Kind.RECENT)
    door.trouble = lambda since, until: None
    clock.move_to(NOW + timedelta(hours=1))
    collecting.collect(firefly.pk, Kind.RECENT)
    assert window(firefly, Kind.RECENT).until == NOW + timedelta(hours=1)


ROW = D.join(
    ("firefly", "7", "7", "7", "x", "u", "a100", "q", *["2026-04-20T10:00:00"] * 3, "0", "", "FAILED", "0:0")
)
WHOLE = f"{ROW}{D}5{D}gres/gpu=2{D}\n"


@pytest.mark.parametrize(
    "answer",
    [
        Answer(1, "", "sacct: error: slurm_persist_conn_open_without_munge_init: Connection refused\n"),
        Answer(1, WHOLE, ""),
        Answer(None, WHOLE, "gateway: ran out of time\n"),
        Answer(-9, WHOLE, ""),
        Answer(0, WHOLE + ROW, ""),
        Answer(0, WHOLE[:-1], ""),
        Answer(0, WHOLE, "", truncated=True),
        Answer(0, "", "sacct: error: Problem talking to the database: Connection timed out\n"),
        Answer(75, "", "gateway: not started: no time left"),
    ],
    ids=str,
)
def test_an_answer_that_is_not_whole_is_none(
    firefly: Cluster, door: Door, monkeypatch: pytest.MonkeyPatch, answer: Answer
) -> None:
    def pull(since: datetime, until: datetime, *, most: int | None) -> Pull:
        return Pull(Slurm().read_records(answer, D), (), NOW)

    monkeypatch.setattr(door, "pull", pull)
    assert collecting.collect(firefly.pk) is None
    unread = window(firefly, Kind.RECENT)
    assert unread.until is None and unread.trouble
    assert not UsageRecord.objects.exists()


def test_a_whole_answer_is_believed(firefly: Cluster, door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    records = Slurm().read_records(Answer(0, WHOLE, ""), D)
    monkeypatch.setattr(door, "pull", lambda since, until, most: Pull(records, (), NOW))
    assert collecting.collect(firefly.pk) is not None
    assert UsageRecord.objects.count() == 1
    empty = Slurm().read_records(Answer(0, "", ""), D)
    assert empty.runs == ()


def test_where_an_answer_is_too_long_the_slices_are_shorter(firefly: Cluster, door: Door) -> None:
    burst = NOW - timedelta(hours=30), NOW - timedelta(hours=20)
    longest = timedelta(hours=3)

    def is_too_long(since: datetime, until: datetime) -> bool:
        return min(until, burst[1]) - max(since, burst[0]) > longest

    door.trouble = lambda since, until: TooMuch("cut", transient=True) if is_too_long(since, until) else None
    collecting.collect(firefly.pk)
    assert window(firefly, Kind.RECENT).until == NOW
    read = [slice for slice in door.asked if not is_too_long(*slice)]
    assert [since for since, _until in read] == [
        NOW - 2 * DAY,
        *(until - CLOCKS for _since, until in read[:-1]),
    ]
    assert read[-1][1] - CLOCKS == NOW
    assert len(door.asked) < 25
    assert max(until - since for since, until in read if since > burst[1]) > 2 * longest  # longer again


def test_the_shortest_slice_takes_what_it_takes(firefly: Cluster, door: Door) -> None:
    door.trouble = lambda since, until: TooMuch("cut", transient=True)
    assert collecting.collect(firefly.pk) is None  # not even a quarter of an hour
    assert window(firefly, Kind.RECENT).trouble == "cut"
    assert door.most[-1] is None and set(door.most[:-1]) == {collecting.MOST}


def test_only_a_silent_cluster_opens_the_breaker(firefly: Cluster, door: Door) -> None:
    door.trouble = no_answer
    collecting.collect(firefly.pk)
    assert health.may_try(firefly.pk)
    door.trouble = lambda since, until: Unreachable("nobody listens there")
    collecting.collect(firefly.pk)
    assert ClusterHealth.objects.get(cluster=firefly).failures == 1
    assert due(firefly) == []  # until it is time for another try
    assert collecting.collect(firefly.pk) is None


def test_two_workers_do_not_read_one_window(firefly: Cluster, door: Door) -> None:
    CollectionWindow.objects.create(cluster=firefly, kind=Kind.RECENT, lease_until=NOW + timedelta(minutes=1))
    assert collecting.collect(firefly.pk) is None
    assert door.asked == []
    assert "recent" not in due(firefly)


# ── What is read ─────────────────────────────────────────────────────────────


def test_running_jobs_are_recorded_provisionally(allocation: Allocation, door: Door) -> None:
    run = RunFactory.create(start=NOW - timedelta(hours=2), end=None, state="RUNNING")
    door.runs, door.queue = [run], (entry(run.job_id_raw),)
    tally = collecting.collect(allocation.cluster_id)
    assert tally is not None and tally.provisional
    record = UsageRecord.objects.get()
    assert (record.provisional, record.gpu_seconds, record.anomaly) == (True, 2 * 2 * 3600, "")


def test_reading_8_days_again_without_a_change_writes_nothing(
    allocation: Allocation, door: Door, django_capture_on_commit_callbacks: Any
) -> None:
    door.runs = [
        RunFactory.create(
            start=NOW - timedelta(days=n % 8, hours=n % 5 + 1),
            end=NOW - timedelta(days=n % 8, hours=n % 5),
            account=("squeezed-light", "nobodys")[n % 2],
        )
        for n in range(60)
    ]
    tally = collecting.collect(allocation.cluster_id, Kind.WEEK)
    assert tally is not None and tally.new == 60
    with CaptureQueriesContext(connection) as queries:
        again = collecting.collect(allocation.cluster_id, Kind.WEEK)
    assert again is not None and (again.new, again.changed, again.charged) == (0, 0, 0)
    written = [query["sql"] for query in queries if not query["sql"].startswith(READING)]
    assert all('"accounting_collectionwindow"' in sql for sql in written), written
    assert len(written) <= 8 + 4  # how far it has come, slice by slice; lease and watermark


READING = ("SELECT", "SAVEPOINT", "RELEASE SAVEPOINT", "BEGIN", "COMMIT")


# ── What can't be read ───────────────────────────────────────────────────────


def test_new_records_that_can_not_be_read_are_one_mail_to_each_of_the_staff(
    firefly: Cluster, door: Door, sam: User, ann: User
) -> None:
    door.rejected = (Rejected("9|x|", "is cut off"), Rejected("10|x|", "is cut off"))
    collecting.collect(firefly.pk)
    collecting.collect(firefly.pk)
    assert QuarantinedRecord.objects.unseen().count() == 2
    [mail] = OutgoingMail.objects.filter(template="quarantined")
    assert (mail.recipient, mail.context["count"], mail.context["path"]) == (sam, 2, "/clusters/quarantine/")
    assert delivered() == [(sam.email, "2 records of Firefly can't be read")]
    door.rejected = (*door.rejected, Rejected("11|x|", "is cut off"))
    collecting.collect(firefly.pk)
    assert OutgoingMail.objects.filter(template="quarantined").count() == 2
