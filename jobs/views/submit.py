"""Submitting a job: one page in three steps, and the check beside it that answers as one types."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import messages
from django.core.validators import slug_re
from django.http import HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.datastructures import MultiValueDict
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from django_htmx.http import trigger_client_event

from accounting.models import Cluster, Partition
from jobs import actions, maintenance, notices, quoting, samples, scripts, uploads
from jobs.account_words import awaited_by
from jobs.context import clusters_seen
from jobs.forms import KeptFile, ShapeForm, SubmitForm, chosen_script, mine, partitions_open, sealed_token
from jobs.models import Job, JobFile, Upload
from jobs.pressure import Busy
from portal.actions.terms import TermsNotAccepted
from portal.models import Project
from portal.permissions import Permission, check_permission
from portal.requests import PersonRequest
from portal.words import duration

SHAPE = ("project", "partition", "gpus", "hours", "minutes")
TYPED = ("name", *SHAPE, "tasks", "at_once")
AT_ONCE = timedelta(seconds=15)
PATIENCE = timedelta(seconds=20)  # so long a page asks again for an answer of the scheduler's


@dataclass(frozen=True)
class PartitionRow:
    """What one sees of a partition before choosing it."""

    partition: Partition
    factor: Decimal
    free_gpus: int | None  # of the whole cluster; None: not known
    chosen: bool


@dataclass(frozen=True)
class Beginning:
    """What a fresh form begins with: values, files that are here, and names of files that are not."""

    values: dict[str, Any] = field(default_factory=dict)
    files: tuple[KeptFile, ...] = ()
    script: str = ""
    missing: tuple[str, ...] = ()
    terms: str = ""  # that the terms of use have to be accepted first, in words


@require_http_methods(["GET", "HEAD", "POST"])
def submit(request: PersonRequest) -> HttpResponse:
    check_permission(request.user, Permission.SUBMIT_JOB)
    if request.method != "POST":
        return _fresh(request, _beginning(request))
    if "sample" in request.POST:
        return _with_sample(request)
    form = SubmitForm(request.user, request.POST)
    kept = Beginning(files=tuple(form.kept_files), script=request.POST.get("script", ""))
    try:
        job = _submitted(request, form)
    except TermsNotAccepted as refused:
        return _page(request, form, replace(kept, terms=str(refused)), 422)
    except Busy as busy:
        form.add_error(None, busy.sentence)
        response = _page(request, form, kept, 429)
        response["Retry-After"] = str(busy.retry_after)
        return response
    if job is None:
        return _page(request, form, kept, 422)
    messages.success(request, _("Your job is submitted. You can leave this page: it goes on by itself."))
    return redirect("jobs:detail", job.pk)


def _submitted(request: PersonRequest, form: SubmitForm) -> Job | None:
    if not form.is_valid():
        return None
    cleaned = form.cleaned_data
    try:
        return actions.create_and_submit(
            by=request.user,
            name=cleaned["name"],
            script=cleaned["script"],
            inputs=cleaned["inputs"],
            token=cleaned["once"],
            task_count=form.task_count,
            tasks_at_once=cleaned["at_once"],
            **form.shape,
        )
    except actions.Refused as refused:
        form.add_error(refused.field if refused.field in form.fields else None, refused.message)
        return None


def _with_sample(request: PersonRequest) -> HttpResponse:
    """The page again, with a sample's files added; what was typed stays."""
    typed = SubmitForm(request.user, request.POST)
    values = {name: request.POST.get(name, "") for name in TYPED}
    kept, script = typed.kept_files, request.POST.get("script", "")
    sample = samples.SAMPLES.get(request.POST["sample"])
    if sample is None:
        messages.error(request, _("There is no such sample."))
        return _fresh(request, Beginning(values, tuple(kept), script))
    try:
        added = samples.put_among_uploads(sample, by=request.user)
    except uploads.Refused as refused:
        messages.error(request, refused.sentence)
        return _fresh(request, Beginning(values, tuple(kept), script))
    names = {upload.path for upload in added}
    files = (*_kept(added), *(file for file in kept if file.name not in names))
    return _fresh(request, Beginning(values, files, str(added[0].pk)))


def _beginning(request: PersonRequest) -> Beginning:
    if "from" in request.GET:
        return _copy_of(request, request.GET["from"])
    slug = request.GET.get("project", "")
    if not slug_re.match(slug):  # PostgreSQL can't even be asked for some texts
        return Beginning()
    project = Project.objects.of_labs_of(request.user).filter(slug=slug).first()
    return Beginning({"project": project.pk} if project else {})


def _copy_of(request: PersonRequest, pk: str) -> Beginning:
    """A job once more: its numbers, and those of its files that the portal still has."""
    visible = Job.objects.visible_to(request.user).select_related("project__lab")
    job = get_object_or_404(visible, pk=int(pk) if pk.isascii() and pk.isdigit() and len(pk) < 19 else 0)
    values: dict[str, Any] = {
        "name": job.name,
        "project": job.project_id,
        "partition": job.partition_id,
        "gpus": job.gpus,
        "hours": job.time_limit_minutes // 60,
        "minutes": job.time_limit_minutes % 60,
        "tasks": job.tasks if job.is_sweep else "",
        "at_once": job.tasks_at_once or "",
    }
    if not job.files_readable_by(request.user):
        return Beginning(values)
    sent = list(job.files.exclude(kind=JobFile.Kind.OUTPUT))
    here = {
        upload.pk: upload
        for upload in mine(request.user, [file.upload_id for file in sent if file.upload_id])
    }
    kept = [here[file.upload_id] for file in sent if file.upload_id in here]
    script = next((file.upload_id for file in sent if file.kind == JobFile.Kind.SCRIPT), None)
    missing = tuple(file.path for file in sent if file.upload_id not in here)
    return Beginning(values, tuple(_kept(kept)), str(script or ""), missing)


def _kept(found: list[Upload]) -> list[KeptFile]:
    return [KeptFile(upload.pk, upload.path, upload.size) for upload in found]


def _fresh(request: PersonRequest, beginning: Beginning) -> HttpResponse:
    values = {"once": sealed_token(), **beginning.values}
    return _page(request, SubmitForm(request.user, initial=values), beginning)


def _page(request: PersonRequest, form: SubmitForm, beginning: Beginning, status: int = 200) -> HttpResponse:
    rows = list(_partition_rows(form))
    _choose_the_only_one(form)
    _add_sliders(form, [row.partition for row in rows])
    context = {
        "form": form,
        "rows": rows,
        "beginning": beginning,
        "samples": samples.SAMPLES.values(),
        "max_bytes": settings.UPLOAD_MAX_BYTES,
        "awaited": awaited_by(request.user),
        "notices": notices.of_all(clusters_seen(request)),
    }
    return render(request, "jobs/submit.html", context, status=status)


def _partition_rows(form: ShapeForm) -> Iterator[PartitionRow]:
    now = timezone.now()
    partitions = list(form.choice("partition").queryset or ())
    wanted = str(form["partition"].value() or (partitions[0].pk if len(partitions) == 1 else ""))
    for partition in partitions:
        health = getattr(partition.cluster, "health", None)
        yield PartitionRow(
            partition,
            partition.factor_at(now),
            health.free_gpus if health and health.is_reachable else None,
            chosen=wanted == str(partition.pk),
        )


def _choose_the_only_one(form: SubmitForm) -> None:
    """Whoever has one project does not have to choose it."""
    if len(form.projects) == 1:
        form.initial.setdefault("project", form.projects[0][0])


def _add_sliders(form: SubmitForm, partitions: list[Partition]) -> None:
    most = {
        "gpus": max((partition.gpu_count for partition in partitions), default=1),
        "hours": max((partition.max_time_minutes for partition in partitions), default=60) // 60,
    }
    for name, value in most.items():
        form.fields[name].widget.attrs |= {"data-slider": "", "max": value}


# ── The check ───────────────────────────────────────────────────────────────


@require_POST
def check(request: PersonRequest) -> HttpResponse:
    """What the job would cost and leave, and what was not taken of the script. Reads only."""
    check_permission(request.user, Permission.SUBMIT_JOB)
    script, bad_script = _examined(request)
    prefill = _prefill(request, script) if script else {}
    form = ShapeForm(request.user, _filled(request.POST, prefill))
    fits = form.is_valid()
    offer = quoting.quote(by=request.user, task_count=form.task_count, **form.shape) if fits else None
    touched = [form[name] for name in form.errors if request.POST.get(name) and name in form.fields]
    context = {
        "offer": offer,
        "shape": urlencode({name: form[name].value() or "" for name in SHAPE}) if offer else "",
        "project": form.cleaned_data.get("project"),
        "partition": form.cleaned_data.get("partition"),
        "gpus": form.cleaned_data.get("gpus"),
        "tasks": form.task_count,
        "time_limit": duration(form.cleaned_data.get("time_limit_minutes", 0) * 60),
        "errors": [(bound.label, error) for bound in touched for error in bound.errors],
        "script": script,
        "bad_script": bad_script,
        "unknown_partition": _unknown_partition(script),
        "silent": _silent(form.cleaned_data.get("partition")),
        "left_alone": _left_alone(form.cleaned_data.get("partition")),
    }
    response = render(request, "jobs/check.html", context)
    return trigger_client_event(response, "prefill", prefill) if prefill else response


@require_safe
def expected(request: PersonRequest) -> HttpResponse:
    """When such a job would start, as the scheduler says. The part asks again by itself until there is an answer."""
    check_permission(request.user, Permission.SUBMIT_JOB)
    form = ShapeForm(request.user, request.GET)
    if not form.is_valid():
        return HttpResponse()
    estimate = actions.want_estimate(by=request.user, **form.shape)
    now = timezone.now()
    context = {
        "estimate": estimate,
        "again": bool(estimate and not estimate.is_answered and now - estimate.asked_at < PATIENCE),
        "at_once": bool(estimate and estimate.starts_at and estimate.starts_at <= now + AT_ONCE),
        "asked": request.get_full_path(),
    }
    return render(request, "jobs/expected.html", context)


def _examined(request: PersonRequest) -> tuple[scripts.Script | None, str]:
    kept = SubmitForm(request.user, request.POST).kept_files
    uploads_here = list(mine(request.user, [file.id for file in kept]))
    chosen = chosen_script(uploads_here, request.POST.get("script"))
    if chosen is None:
        return None, ""
    try:
        return scripts.examine(chosen), ""
    except scripts.BadScript as error:
        return None, f"{chosen.path}: {error.sentence}"


def _prefill(request: PersonRequest, script: scripts.Script) -> dict[str, str]:
    """What the script says, for fields that are still empty."""
    said = script.directives
    values: dict[str, Any] = {
        "gpus": said.gpus,
        "name": (said.name or "")[:100],
        "tasks": said.tasks,
        "at_once": said.at_once,
    }
    if said.time_limit_minutes and not (request.POST.get("hours") or request.POST.get("minutes")):
        values |= {"hours": said.time_limit_minutes // 60, "minutes": said.time_limit_minutes % 60}
    if said.partition:
        values["partition"] = (
            partitions_open().filter(name=said.partition).values_list("pk", flat=True).first()
        )
    return {
        name: str(value)
        for name, value in values.items()
        if value not in (None, "") and not request.POST.get(name, "").strip()
    }


def _silent(partition: Partition | None) -> Cluster | None:
    """The partition's cluster, if it gives no answers now."""
    health = getattr(partition.cluster, "health", None) if partition else None
    return partition.cluster if partition and health and health.failures else None


def _left_alone(partition: Partition | None) -> bool:
    """Whether its cluster is under maintenance: then nobody is asked when a job would start."""
    return partition is not None and maintenance.lasts(partition.cluster_id)


def _unknown_partition(script: scripts.Script | None) -> str:
    """A partition that the script names and nobody here knows: it would be forgotten without a word."""
    named = script.directives.partition if script else None
    return named if named and not partitions_open().filter(name=named).exists() else ""


def _filled(data: QueryDict, prefill: dict[str, str]) -> MultiValueDict[str, str]:
    filled: MultiValueDict[str, str] = MultiValueDict(data.lists())
    for name, value in prefill.items():
        filled[name] = value
    return filled
