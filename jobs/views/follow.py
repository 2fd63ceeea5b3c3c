"""Following one job: its page, the parts of it that stay fresh, its log, and the wish to end it."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db.models import QuerySet
from django.http import Http404, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.cache import get_conditional_response
from django.utils.html import escape
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from jobs import actions, cost, life, notices, reasons
from jobs.files import LOGS, log_name
from jobs.models import ClusterHealth, Job, JobFile
from jobs.states import State
from portal.lists import page_of
from portal.permissions import Permission, has_permission
from portal.requests import PersonRequest
from portal.words import clock

STREAMS = tuple(LOGS)
STOP_POLLING = 286  # htmx: nothing will change any more
SHOWN_FILES = 500
PREVIEWED = (".png", ".jpg", ".jpeg")
PREVIEWS = 12  # pictures shown on the page; the others are a click away


def jobs_in_sight(request: PersonRequest) -> QuerySet[Job]:
    return Job.objects.visible_to(request.user).select_related(
        "owner", "project__lab__institution", "cluster__health", "partition", "cancel_requested_by"
    )


@require_safe
def detail(request: PersonRequest, pk: int) -> HttpResponse:
    job = get_object_or_404(jobs_in_sight(request), pk=pk)
    context = {
        **_news(request, job),
        **_side(request, job),
        **_tasks(request, job),
        "streams": STREAMS,
        "may_submit": has_permission(request.user, Permission.SUBMIT_JOB, lab=job.project.lab),
    }
    return render(request, "jobs/detail.html", context)


@require_safe
def news(request: PersonRequest, pk: int) -> HttpResponse:
    """Polled: state, line of life, reason."""
    job = get_object_or_404(jobs_in_sight(request), pk=pk)
    status = STOP_POLLING if is_settled(job) else 200
    return render(request, "jobs/news.html", {**_news(request, job), "polled": True}, status=status)


@require_safe
def side(request: PersonRequest, pk: int) -> HttpResponse:
    """Polled: cost, runs, files."""
    job = get_object_or_404(jobs_in_sight(request), pk=pk)
    status = STOP_POLLING if is_settled(job) else 200
    return render(request, "jobs/side.html", {**_side(request, job), "polled": True}, status=status)


@require_safe
def tasks(request: PersonRequest, pk: int) -> HttpResponse:
    """Polled: a page of a sweep's tasks."""
    job = get_object_or_404(jobs_in_sight(request).filter(tasks__gt=1), pk=pk)
    status = STOP_POLLING if is_settled(job) else 200
    return render(request, "jobs/tasks.html", _tasks(request, job), status=status)


def _tasks(request: PersonRequest, job: Job) -> dict[str, Any]:
    if not job.is_sweep:
        return {}
    page = page_of(request, range(job.tasks))
    return {
        "job": job,
        "page": page,
        "tasks": cost.of_tasks(job, page.object_list),
        "readable": job.files_readable_by(request.user),
    }


def is_settled(job: Job) -> bool:
    """Ended, and its results are listed: the page needs no more news."""
    return job.is_final and (job.outputs_listed_at is not None or not job.scheduler_id)


def _news(request: PersonRequest, job: Job) -> dict[str, Any]:
    health: ClusterHealth | None = getattr(job.cluster, "health", None)
    silent = health is not None and health.failures > 0 and not is_settled(job)
    since = clock(health.answered_at) if health and health.answered_at else ""
    return {
        "job": job,
        "steps": life.of_job(job),
        "reason": reasons.of_job(job),
        "cost": cost.of_job(job, timezone.now()) if job.state in (State.FAILED, State.CANCELLED) else None,
        "silence": reasons.unreachable(since, is_final=job.is_final) if silent else None,
        "notice": None if silent or is_settled(job) else notices.of(job.cluster),
        "settled": is_settled(job),
        "may_cancel": may_cancel(request, job),
    }


def may_cancel(request: PersonRequest, job: Job) -> bool:
    if job.is_final or job.cancel_requested_at:
        return False
    return request.user.pk == job.owner_id or has_permission(
        request.user, Permission.CANCEL_LAB_JOB, lab=job.project.lab
    )


def _side(request: PersonRequest, job: Job) -> dict[str, Any]:
    readable = job.files_readable_by(request.user)
    files = list(job.files.order_by("path")) if readable else []
    outputs = [file for file in files if file.kind == JobFile.Kind.OUTPUT]
    stream = request.GET.get("stream", "")
    stream = stream if stream in STREAMS else STREAMS[0]
    task = job.task_called(request.GET.get("task", ""))
    if task is None:
        task = job.telling_task
    log = log_name(job, stream, task)
    return {
        "job": job,
        "cost": cost.of_job(job, timezone.now()),
        "nodes": job.partition.nodes_for(job.gpus),
        "readable": readable,
        "sent": [file for file in files if file.kind != JobFile.Kind.OUTPUT],
        "stream": stream,
        "task": task,
        "log_url": reverse("jobs:log", args=[job.pk, stream]) + (f"?task={task}" if job.is_sweep else ""),
        "log_file": next((file for file in outputs if file.path == log), None),
        "outputs": outputs[:SHOWN_FILES],
        "hidden_outputs": max(len(outputs) - SHOWN_FILES, 0),
        "pictures": [file for file in outputs if file.path.lower().endswith(PREVIEWED)][:PREVIEWS],
        "settled": is_settled(job),
    }


# ── The log ─────────────────────────────────────────────────────────────────


@require_safe
def log(request: PersonRequest, pk: int, stream: str) -> HttpResponseBase:
    """Polled: the end of the log as it is known now; asking makes the worker read on."""
    job = get_object_or_404(jobs_in_sight(request), pk=pk)
    task = job.task_called(request.GET.get("task", "0"))
    if stream not in STREAMS or task is None:
        raise Http404
    tail = actions.want_log(by=request.user, job=job, stream=stream, task=task)
    whole = is_settled(job) and (not job.scheduler_id or tail.is_whole)
    response = HttpResponse(escape(tail.text), status=STOP_POLLING if whole else 200)
    response["ETag"] = f'"{tail.pk}-{tail.offset}"'
    response["Cache-Control"] = "private, no-cache"
    if whole:
        return response
    return get_conditional_response(request, etag=response["ETag"], response=response) or response


# ── Ending it ───────────────────────────────────────────────────────────────


@require_POST
def cancel(request: PersonRequest, pk: int) -> HttpResponse:
    job = get_object_or_404(jobs_in_sight(request), pk=pk)
    try:
        actions.cancel(by=request.user, job=job)
    except actions.Refused as refused:
        messages.error(request, refused.message)
    else:
        _tell_cancelled(request, job)
    return redirect("jobs:detail", job.pk)


def _tell_cancelled(request: PersonRequest, job: Job) -> None:
    if job.state == State.CANCELLED:
        messages.success(request, _("The job is cancelled. Nothing was charged."))
    else:
        messages.info(request, _("The scheduler is told to end the job. This page shows when it has ended."))
