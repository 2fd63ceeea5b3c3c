"""A job's steps, each one guarded UPDATE: only forward, except submitting → new and running → queued.

Every function answers whether *this* call moved the job. False means that somebody was first: stop quietly.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from accounting import ledger
from jobs.models import Job
from jobs.states import FINAL, State
from portal.transitions import move

FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(minutes=5)


def mark_submitting(job: Job) -> bool:
    """Claim a waiting job for sending."""
    return move(job, State.SUBMITTING, claimed_at=timezone.now(), looked_up_at=None, reason="")


def still_sending(job: Job) -> None:
    """A sign of life of the worker that claimed it: a long upload is not a dead worker."""
    Job.objects.filter(pk=job.pk, state=State.SUBMITTING).update(claimed_at=timezone.now())


def put_back(job: Job, reason: str, message: str = "", *, job_at_fault: bool = False) -> bool:
    """Surely not sent: wait, longer each time. Only tries that were the job's own fault count towards giving up."""
    attempts = job.attempts + job_at_fault
    pause = min(FIRST_PAUSE * 2**attempts, LONGEST_PAUSE)
    return move(
        job,
        State.NEW,
        attempts=attempts,
        not_before=timezone.now() + pause,
        reason=reason,
        message=message[:500],
        looked_up_at=None,
    )


def note_unclear(job: Job, message: str) -> None:
    """Nobody knows whether the scheduler has it: it stays "submitting" until it was looked up."""
    Job.objects.filter(pk=job.pk, state=State.SUBMITTING).update(reason="Unclear", message=message[:500])


def mark_queued(job: Job, scheduler_id: str) -> bool:
    """The scheduler has it under this id."""
    now = timezone.now()
    return move(
        job, State.QUEUED, scheduler_id=scheduler_id, queued_at=now, confirmed_at=now, reason="", message=""
    )


def mark_running(job: Job, started_at: datetime | None, nodes: str) -> bool:
    return move(
        job,
        State.RUNNING,
        started_at=started_at or timezone.now(),
        nodes=nodes[:200],
        reason="",
        expected_start_at=None,
    )


def mark_requeued(job: Job, reason: str) -> bool:
    """It ran, and waits again under the same id."""
    return move(job, State.QUEUED, started_at=None, nodes="", reason=reason)


@transaction.atomic
def finish(
    job: Job, state: str, *, reason: str = "", message: str = "", **facts: datetime | str | None
) -> bool:
    """Final: the hold is released in the same transaction."""
    if state not in FINAL:
        raise ValueError(f"{state} is not final")
    times = {"ended_at": timezone.now(), **{name: value for name, value in facts.items() if value}}
    if not move(job, state, reason=reason, message=message[:500], expected_start_at=None, **times):
        return False
    ledger.release(job.token)
    return True
