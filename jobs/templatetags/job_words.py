"""How jobs and partitions are written on a page."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from django import template
from django.utils import timezone

from accounting.models import Partition
from jobs.models import Job
from jobs.reasons import of_job
from jobs.states import State
from portal.words import duration, grouped

register = template.Library()

TONES = {
    State.NEW: "wait",
    State.SUBMITTING: "wait",
    State.QUEUED: "wait",
    State.RUNNING: "busy",
    State.SUCCEEDED: "ok",
    State.FAILED: "bad",
    State.CANCELLED: "off",
}


@register.inclusion_tag("components/state.html")
def job_state(job: Job) -> dict[str, Any]:
    """The state as word, colour and icon; the reason on hover."""
    return {"word": job.get_state_display(), "tone": TONES[State(job.state)], "hint": of_job(job).sentence}


@register.filter
def factor(value: Decimal) -> str:
    """0.5000 → "0.5"."""
    return grouped(value, max(0, -int(value.normalize().as_tuple().exponent)))


@register.filter
def factor_now(partition: Partition) -> str:
    return factor(partition.factor_at(timezone.now()))


@register.filter
def longest(partition: Partition) -> str:
    """How long a job may run there."""
    return duration(partition.max_time_minutes * 60)


@register.filter
def time_limit(job: Job) -> str:
    return duration(job.time_limit_minutes * 60)


@register.filter
def ran_for(job: Job) -> str:
    """How long it runs, or ran; a dash before it does."""
    if job.started_at is None:
        return "–"
    return duration((job.ended_at or timezone.now()) - job.started_at)


@register.filter
def why(job: Job) -> str:
    return of_job(job).sentence


@register.filter
def moment_that_counts(job: Job) -> datetime:
    """When it ended, started or was submitted: the latest of them."""
    return job.ended_at or job.started_at or job.created_at


@register.filter
def state_word(state: str) -> str:
    return str(State(state).label)
