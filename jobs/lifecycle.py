"""A job's steps, each one guarded UPDATE: only forward, except submitting → new and running → queued.

Every function answers whether *this* call moved the job. False means that somebody was first: stop quietly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from accounting import bulk, ledger
from jobs.models import Job
from jobs.states import FINAL, State
from portal.transitions import move

FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(minutes=5)


@transaction.atomic
def claim(jobs: Sequence[Job]) -> list[Job]:
    """Those of `jobs` that wait to be sent, whose people may still run them, and that are this worker's from now on:
    no other gets them, too."""
    waiting = Job.objects.entitled().filter(
        state=State.NEW, cancel_requested_at=None, pk__in=[job.pk for job in jobs]
    )
    ours = dict(waiting.select_for_update(skip_locked=True, of=("self",)).values_list("pk", "attempts"))
    fields = {"claimed_at": timezone.now(), "looked_up_at": None, "reason": ""}
    Job.objects.filter(pk__in=ours).update(state=State.SUBMITTING, **fields)
    claimed = [job for job in jobs if job.pk in ours]
    for job in claimed:
        for name, value in {"state": State.SUBMITTING, "attempts": ours[job.pk], **fields}.items():
            setattr(job, name, value)
    return claimed


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


def mark_all_queued(ids: Mapping[int, str]) -> None:
    """The scheduler has these jobs, by pk, under these ids. One that somebody else has moved meanwhile stays as it is."""
    now = timezone.now()
    columns = ("state", "scheduler_id", "queued_at", "confirmed_at", "reason", "message")
    rows = [(pk, State.QUEUED.value, number, now, now, "", "") for pk, number in ids.items()]
    bulk.change(Job, columns, rows, state=State.SUBMITTING)


def mark_all_running(started: Sequence[tuple[Job, datetime | None, str]]) -> None:
    """(job, since when, nodes) of those that wait no more. One query."""
    now = timezone.now()
    columns = ("state", "started_at", "nodes", "reason", "expected_start_at")
    rows = [(job.pk, State.RUNNING.value, at or now, nodes[:200], "", None) for job, at, nodes in started]
    bulk.change(Job, columns, rows, state=State.QUEUED)
    for (job, *_rest), row in zip(started, rows, strict=True):
        job.state, job.started_at, job.expected_start_at = State.RUNNING, row[2], None


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
