"""How jobs and partitions are written on a page."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from django import template
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from accounting.models import Fence, Partition
from jobs.cost import Task
from jobs.models import Job
from jobs.reasons import of_job
from jobs.states import State, TaskState
from portal.templatetags.page import state
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
    TaskState.WAITING: "wait",
    TaskState.RUNNING: "busy",
    TaskState.SUCCEEDED: "ok",
    TaskState.FAILED: "bad",
    TaskState.CANCELLED: "off",
}


@register.simple_tag
def job_state(job: Job) -> SafeString:
    """The state as word, colour and icon; the reason on hover."""
    now = State(job.state)
    return state(now.label, TONES[now], of_job(job).sentence)


@register.filter
def task_state(task: Task) -> SafeString:
    """The same of one task of a sweep."""
    return state(task.state.label, TONES[task.state])


@register.filter
def task_counts(job: Job) -> str:
    """How many tasks are where: "6 done · 2 running · 2 waiting"; empty before the sweep is on the cluster."""
    order = (TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED, TaskState.RUNNING, TaskState.WAITING)
    counted = ((job.task_states.count(each), each.label) for each in order)
    return " · ".join(f"{grouped(count)} {label}" for count, label in counted if count)


@register.simple_tag
def fence_state(fence: Fence) -> SafeString:
    """Whether the scheduler's limit is as it should be, as word, colour and icon."""
    if fence.trouble:
        return state(_("not in step"), "bad", _("The scheduler's limit is not as it should be."))
    if fence.confirmed_at is None:
        return state(_("not looked at yet"), "wait", "")
    if not fence.is_placed:
        return state(_("waits for its account"), "wait", _("Nobody of the project can run jobs there yet."))
    return state(_("in step"), "ok", "")


@register.filter
def fence_trouble(fence: Fence) -> str:
    """Our own sentence in the reader's language; the scheduler's as they came."""
    return _(fence.trouble) if fence.trouble else ""


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
