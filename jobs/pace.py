"""How soon is a cluster asked again? When something is about to happen there, at once; when nothing is, rarely.

When it is to be asked next stands in the database, so that one poll follows however many clocks tick. It is never asked
again before BREATH times as long as its last answer took: what is slow is left in peace. docs/decisions/017.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db.models import F, Value
from django.db.models.functions import Coalesce, Least
from django.utils import timezone

from jobs.models import ClusterHealth, Job
from jobs.states import State

SOON = timedelta(seconds=1)  # the scheduler starts a job no sooner, and the clock ticks no faster
FAST = timedelta(seconds=2)
STEADY = timedelta(seconds=5)  # jobs are there; they may end at any moment
IDLE = timedelta(seconds=45)  # below hops.OLD: no news for longer would look like a broken road
LONGEST = timedelta(seconds=60)  # also after the slowest answer, for the same reason
BREATH = 4

YOUNG = timedelta(minutes=1)  # what was just queued may start, and what just started may fail
NEAR = timedelta(seconds=30)  # before and after the moment for which something is expected
PATIENCE = timedelta(minutes=5)  # a wish to cancel is not waited for longer


def pause(jobs: Iterable[Job], now: datetime) -> timedelta:
    """After an answer that told of these: how long nothing is asked."""
    there = False
    for job in jobs:
        if job.is_final:
            continue
        if _is_about_to_move(job, now):
            return FAST
        there = True
    return STEADY if there else IDLE


def _is_about_to_move(job: Job, now: datetime) -> bool:
    if job.cancel_requested_at and now - job.cancel_requested_at < PATIENCE:
        return True
    if job.state == State.RUNNING and job.started_at:
        end = job.started_at + timedelta(minutes=job.time_limit_minutes)
        return now - job.started_at < YOUNG or abs(end - now) < NEAR
    if job.queued_at and now - job.queued_at < YOUNG:
        return True
    return job.expected_start_at is not None and abs(job.expected_start_at - now) < NEAR


def is_due(health: ClusterHealth, now: datetime) -> bool:
    later = (health.lease_until, health.try_again_at, health.ask_at, _rested_at(health))
    return all(until is None or until <= now for until in later)


def _rested_at(health: ClusterHealth) -> datetime | None:
    """Not before, whatever happens there."""
    if health.answered_at is None or health.poll_seconds is None:
        return None
    return health.answered_at + min(BREATH * timedelta(seconds=health.poll_seconds), LONGEST)


def soon(cluster_id: int) -> None:
    """Something was sent or cancelled there: what became of it is to be seen. Also while it is being asked."""
    at = Value(timezone.now() + SOON)
    ClusterHealth.objects.filter(cluster=cluster_id).update(ask_at=Least(Coalesce(F("ask_at"), at), at))
