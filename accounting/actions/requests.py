"""What a lab does about GPU-hours: ask, change, send, withdraw. One transaction each, with `by`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, TypedDict, Unpack

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext as _

from accounting.actions import consents
from accounting.actions.authors import check_may_write
from accounting.actions.missing import Unfinished, what_is_missing
from accounting.actions.receiving import receive
from accounting.models import Allocation, AllocationRequest, Call, Cluster, Partition, RequestLine
from accounting.units import charged
from portal.models import AuditEvent, Project, User
from portal.models.audit import record
from portal.permissions import Permission, check_permission
from portal.transitions import Overtaken, step

State, Kind = AllocationRequest.State, AllocationRequest.Kind
DRAFTING = ("allocation request drafted", "allocation request changed")


@dataclass(frozen=True)
class Line:
    """Device-seconds on one partition, and why that many."""

    partition: Partition
    gpu_seconds: int
    justification: str = ""

    @property
    def cost(self) -> int:
        return charged(self.gpu_seconds, self.partition.factor_at(timezone.now()))


class Wish(TypedDict, total=False):
    """What a request says. `lines` are what is asked by partition; `gpu_seconds` a sum to be charged, without them."""

    cluster: Cluster
    call: Call | None
    to_project: Project | None
    lines: Sequence[Line]
    gpu_seconds: int
    start: date | None
    end: date | None
    justification: str
    people: str
    software: str
    unfinished: Mapping[str, str]


@transaction.atomic
def request_hours(
    *,
    by: User,
    project: Project,
    kind: str = Kind.NEW,
    allocation: Allocation | None = None,
    submit: bool = True,
    **wish: Unpack[Wish],
) -> AllocationRequest:
    """Ask for hours, or for a change of `allocation`; with `submit` it goes to the centre at once, else it is a draft."""
    check_permission(by, Permission.REQUEST_HOURS, lab=project.lab)
    check_may_ask(project, kind)
    request = AllocationRequest.objects.create(
        project=project,
        kind=kind,
        allocation=allocation,
        created_by=by,
        **(_of_allocation(kind, allocation) | _columns(wish)),
    )
    _write_lines(request, wish)
    record(
        "allocation request drafted", request, by=by, project=project, gpu_seconds=request.gpu_seconds_asked
    )
    if submit:
        submit_request(by=by, request=request)
    return request


@transaction.atomic
def change_request(
    *,
    by: User,
    request: AllocationRequest,
    submit: bool = False,
    seen: int | None = None,
    quietly: bool = False,
    **wish: Unpack[Wish],
) -> bool:
    """Change what `wish` names in a draft or a returned request. What the centre is reading can't change under its eyes.

    `seen` is the version that the person had before them: True if somebody had changed it since; then, too, the last
    who writes wins. `quietly`: of many in a row by the same person, the audit keeps the first.
    """
    check_may_write(by, request)
    columns = _columns(wish)
    columns |= _without_consent(request, columns)
    mine = AllocationRequest.objects.filter(pk=request.pk, state__in=AllocationRequest.WITH_LAB)
    if not request.is_open or not mine.update(version=F("version") + 1, changed_at=timezone.now(), **columns):
        raise Overtaken(_("This request can no longer be changed."))
    request.refresh_from_db(fields=[*columns, "version", "changed_at"])
    _write_lines(request, wish)
    if not quietly or not _is_drafting(by, request):
        asked = request.gpu_seconds_asked
        record("allocation request changed", request, by=by, project=request.project, gpu_seconds=asked)
    if submit:
        submit_request(by=by, request=request)
    return seen is not None and request.version != seen + 1


@transaction.atomic
def submit_request(*, by: User, request: AllocationRequest) -> None:
    """Send a draft, or a returned request, to the centre. Raises Unfinished where something is missing."""
    check_may_write(by, request)
    check_may_ask(request.project, request.kind)
    if request.is_open and (missing := what_is_missing(request)):
        raise Unfinished(missing)
    step(request, State.SUBMITTED, by=by, project=request.project, submitted_at=timezone.now())
    if request.lacks_consent:
        consents.ask(by=by, request=request)
    else:
        receive(request)


@transaction.atomic
def withdraw_request(*, by: User, request: AllocationRequest) -> None:
    check_may_write(by, request)
    step(request, State.WITHDRAWN, by=by, project=request.project)


@transaction.atomic
def copy_request(*, by: User, request: AllocationRequest) -> AllocationRequest:
    """A new draft that says what `request` said: after a rejection, or a change of mind."""
    lines = [
        Line(line.partition, line.gpu_seconds, line.justification)
        for line in request.lines.select_related("partition").prefetch_related("partition__factors")
    ]
    words = {name: getattr(request, name) for name in ("start", "end", "justification", "people", "software")}
    amount: Wish = {"lines": lines} if lines else {"gpu_seconds": request.gpu_seconds_asked}
    return request_hours(
        by=by,
        project=request.project,
        kind=request.kind,
        allocation=request.allocation,
        submit=False,
        **{"cluster": request.cluster, "to_project": request.to_project, **words, **amount},
    )


def check_may_ask(project: Project, kind: str) -> None:
    """Raise PermissionDenied, with the sentence, where nothing can be asked for any more."""
    states = {Project.State.ACTIVE} | ({Project.State.PROPOSED} if kind == Kind.NEW else set())
    if project.state not in states:
        raise PermissionDenied(
            _("This project is %(state)s. Hours are asked for active projects.")
            % {"state": project.get_state_display()}
        )
    if project.lab.closed_at is not None:
        raise PermissionDenied(_("The lab of this project is closed. Hours are asked in labs that are open."))


def _of_allocation(kind: str, allocation: Allocation | None) -> dict[str, Any]:
    """What a change of an allocation takes from it."""
    if allocation is None:
        return {}
    given: dict[str, Any] = {"cluster": allocation.cluster}
    if kind != Kind.RENEWAL:
        given["start"] = allocation.start
    if kind in (Kind.SUPPLEMENT, Kind.TRANSFER):
        given["end"] = allocation.end
    return given


def _columns(wish: Wish) -> dict[str, Any]:
    columns: dict[str, Any] = {
        name: value for name, value in wish.items() if name not in ("lines", "gpu_seconds")
    }
    if "lines" in wish:
        columns["gpu_seconds_asked"] = sum(line.cost for line in wish["lines"])
    elif "gpu_seconds" in wish:
        columns["gpu_seconds_asked"] = wish["gpu_seconds"]
    return columns


def _write_lines(request: AllocationRequest, wish: Wish) -> None:
    if "lines" not in wish and "gpu_seconds" not in wish:
        return
    request.lines.all().delete()
    RequestLine.objects.bulk_create(
        RequestLine(
            request=request,
            partition=line.partition,
            gpu_seconds=line.gpu_seconds,
            justification=line.justification,
        )
        for line in wish.get("lines", ())
    )


def _without_consent(request: AllocationRequest, columns: dict[str, Any]) -> dict[str, Any]:
    """Consent was to so many hours for that project: another wish needs it anew."""
    told = ("gpu_seconds_asked", "to_project")
    if all(columns.get(name, getattr(request, name)) == getattr(request, name) for name in told):
        return {}
    return {"consented_by": None, "consented_at": None}


def _is_drafting(by: User, request: AllocationRequest) -> bool:
    latest = AuditEvent.objects.about(request).first()
    return latest is not None and latest.actor_id == by.pk and latest.action in DRAFTING
