"""How soon a cluster is asked again, and that one poll follows however many clocks tick."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from accounting.models import Allocation, Cluster
from jobs import actions, dispatch, hops, pace, sync
from jobs.clusters import Poll
from jobs.models import ClusterHealth, Job
from jobs.schedulers import Records
from jobs.ssh import Unreachable
from jobs.states import State
from portal.models import User
from tests.factories import ClusterAccountFactory, JobFactory

pytestmark = pytest.mark.django_db

NOW = timezone.now()
LONG_AGO = NOW - timedelta(hours=2)


def job(**facts: object) -> Job:
    """Running for two hours, of twelve."""
    usual = {"state": State.RUNNING, "queued_at": LONG_AGO, "started_at": LONG_AGO, "time_limit_minutes": 720}
    return Job(**{**usual, **facts})


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, pace.STEADY),
        ({"state": State.SUCCEEDED}, pace.IDLE),
        ({"state": State.QUEUED, "started_at": None}, pace.STEADY),
        ({"state": State.QUEUED, "started_at": None, "queued_at": NOW}, pace.FAST),
        ({"state": State.QUEUED, "expected_start_at": NOW + timedelta(seconds=20)}, pace.FAST),
        ({"state": State.QUEUED, "expected_start_at": NOW + timedelta(hours=1)}, pace.STEADY),
        ({"started_at": NOW - timedelta(seconds=10)}, pace.FAST),
        ({"time_limit_minutes": 120}, pace.FAST),
        ({"cancel_requested_at": NOW - timedelta(seconds=30)}, pace.FAST),
        ({"cancel_requested_at": LONG_AGO}, pace.STEADY),
    ],
)
def test_it_asks_fast_where_something_is_about_to_happen(
    facts: dict[str, object], expected: timedelta
) -> None:
    assert pace.pause([job(**facts)], NOW) == expected
    assert pace.pause([job(), job(**facts)], NOW) == min(expected, pace.STEADY)


def test_nothing_there_is_asked_rarely_and_never_so_rarely_that_it_looks_broken() -> None:
    assert pace.pause([], NOW) == pace.IDLE
    assert max(pace.IDLE, pace.LONGEST) + sync.LEASE / 2 < hops.OLD


def test_what_answers_slowly_has_its_rest(firefly: Cluster) -> None:
    health = ClusterHealth(cluster=firefly, answered_at=NOW, poll_seconds=3, ask_at=NOW)
    assert not pace.is_due(health, NOW + timedelta(seconds=3 * pace.BREATH - 1))
    assert pace.is_due(health, NOW + timedelta(seconds=3 * pace.BREATH))
    health.poll_seconds = 1000
    assert pace.is_due(health, NOW + pace.LONGEST)


def asked_next() -> datetime:
    at = ClusterHealth.objects.get().ask_at
    assert at is not None
    return at


@pytest.fixture
def asked(firefly: Cluster, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Each time that the cluster is asked; it has nothing to tell."""
    times: list[str] = []

    def answer(*_: object) -> Poll:
        times.append("asked")
        return Poll((), Records((), ()), None, 30, timezone.now())

    monkeypatch.setattr(sync, "_ask", answer)
    return times


def test_two_clocks_bring_one_poll_per_interval(firefly: Cluster, asked: list[str]) -> None:
    for _tick in range(5):
        for _clock in range(2):
            sync.poll_if_due(firefly.pk)
    assert asked == ["asked"]
    assert sync.due() == []
    ClusterHealth.objects.update(ask_at=timezone.now(), answered_at=LONG_AGO)
    assert sync.due() == [firefly.pk]


def test_of_two_rings_that_read_the_same_one_asks(firefly: Cluster, asked: list[str]) -> None:
    believed = ClusterHealth.objects.create(cluster=firefly)
    sync.poll(firefly.pk, believed=believed)
    sync.poll(firefly.pk, believed=believed)
    assert asked == ["asked"]


def test_a_job_that_was_sent_makes_it_ask_soon_also_while_it_is_asked(
    firefly: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(*_: object) -> Poll:
        pace.soon(firefly.pk)
        return Poll((), Records((), ()), None, 30, timezone.now())

    monkeypatch.setattr(sync, "_ask", answer)
    sync.poll(firefly.pk)
    assert asked_next() <= timezone.now() + pace.SOON


def test_soon_is_never_later(firefly: Cluster) -> None:
    ClusterHealth.objects.create(cluster=firefly, ask_at=LONG_AGO)
    pace.soon(firefly.pk)
    assert asked_next() == LONG_AGO


def test_a_wish_to_cancel_makes_it_ask_soon(
    firefly: Cluster, mei: User, allocation: Allocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    ClusterAccountFactory.create(user=mei, cluster=firefly)
    running = JobFactory.create(owner=mei, allocation=allocation, state=State.RUNNING, scheduler_id="7")
    ClusterHealth.objects.create(cluster=firefly, ask_at=timezone.now() + pace.IDLE)
    actions.cancel(by=mei, job=running)

    class Door:
        def __enter__(self) -> Door:
            return self

        def __exit__(self, *_: object) -> None: ...

        def cancel(self, *_: object) -> None:
            raise Unreachable("not now")

    monkeypatch.setattr(dispatch, "connect_to", lambda _name: Door())
    dispatch.cancel_wanted(firefly.pk)
    assert asked_next() <= timezone.now() + pace.SOON
