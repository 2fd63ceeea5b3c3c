"""A job's one line of life: submitted → waiting → running → ended. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.utils.functional import Promise
from django.utils.translation import gettext as _

from jobs.models import Job
from jobs.states import State
from portal.words import ago, duration


@dataclass(frozen=True)
class Step:
    label: str | Promise
    at: datetime | None
    state: str  # done, now, next or bad: see components/steps.html
    note: str = ""


def of_job(job: Job) -> list[Step]:
    return [Step(_("submitted"), job.created_at, "done"), _waiting(job), _running(job), _ended(job)]


def _waiting(job: Job) -> Step:
    if job.state in (State.NEW, State.SUBMITTING):
        return Step(_("being sent"), None, "now")
    if job.state == State.QUEUED:
        expected = job.expected_start_at
        return Step(
            _("waiting"),
            job.queued_at,
            "now",
            _("starts about %(when)s") % {"when": ago(expected)} if expected else "",
        )
    if job.queued_at is None:
        return Step(_("waiting"), None, "next")
    until = job.started_at or job.ended_at
    note = _("for %(time)s") % {"time": duration(until - job.queued_at)} if until else ""
    return Step(_("waited"), job.queued_at, "done", note)


def _running(job: Job) -> Step:
    if job.started_at is None:
        return Step(_("running"), None, "next")
    if not job.is_final:
        return Step(_("running"), job.started_at, "now")
    note = _("for %(time)s") % {"time": duration(job.ended_at - job.started_at)} if job.ended_at else ""
    return Step(_("ran"), job.started_at, "done", note)


def _ended(job: Job) -> Step:
    if not job.is_final:
        return Step(_("ended"), None, "next")
    return Step(job.get_state_display(), job.ended_at, "bad" if job.state == State.FAILED else "done")
