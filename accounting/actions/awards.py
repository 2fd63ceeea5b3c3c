"""What an approval brings about: an allocation, more hours for one, a later last day, or hours that move.

An approval that can't be carried out any more raises Overtaken with the sentence for whoever approves; nothing is written.
"""

from __future__ import annotations

from datetime import date, timedelta

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from accounting import ledger
from accounting.lifetimes import grant_tranches
from accounting.models import Allocation, AllocationRequest, Cluster, Review, policy_of
from accounting.units import hours
from portal.models import Project, User
from portal.models.audit import record
from portal.transitions import Overtaken, advance
from portal.words import day, figure

Kind = AllocationRequest.Kind
MOVED = gettext_noop("Moved to another project; both sides agreed.")


def carry_out(*, by: User | None, request: AllocationRequest, review: Review) -> Allocation:
    """Make true what `review` approved, inside its transaction; the allocation that has it now.

    `by` is empty where the policy granted it at once.
    """
    match request.kind:
        case Kind.SUPPLEMENT:
            return _supplement(by, _changed(request), review)
        case Kind.EXTENSION:
            return _extend(by, _changed(request), review.end_awarded or request.period[1])
        case Kind.TRANSFER:
            return _transfer(by, request, review)
        case _new_or_renewal:
            return _begin(by, request, review)


def _begin(by: User | None, request: AllocationRequest, review: Review) -> Allocation:
    if request.project.state == Project.State.PROPOSED:
        advance(request.project, Project.State.ACTIVE, by=by, project=request.project)
    start, end = request.period
    end = review.end_awarded or end
    follows = request.allocation if request.kind == Kind.RENEWAL else None
    allocation = Allocation.objects.create(
        project=request.project,
        cluster=request.cluster,
        start=start,
        end=end,
        usable_until=_usable_until(request.cluster, end),
        review=review,
        follows=follows,
    )
    _grant(by, allocation, review)
    return allocation


def _supplement(by: User | None, allocation: Allocation, review: Review) -> Allocation:
    if allocation.usable_until < timezone.now().date():
        raise Overtaken(_("This allocation has ended meanwhile: more hours for it could not be used."))
    _grant(by, allocation, review)
    return allocation


def _extend(by: User | None, allocation: Allocation, end: date) -> Allocation:
    end = max(end, timezone.now().date())
    if end <= allocation.end:
        raise Overtaken(
            _("This allocation already runs until %(day)s, which is not before the day that was asked for.")
            % {"day": day(allocation.end)}
        )
    before = allocation.end
    allocation.end, allocation.usable_until = end, _usable_until(allocation.cluster, end)
    allocation.save(update_fields=["end", "usable_until"])
    record(
        "allocation extended",
        allocation,
        by=by,
        project=allocation.project,
        before=before.isoformat(),
        end=end.isoformat(),
    )
    return allocation


def _transfer(by: User | None, request: AllocationRequest, review: Review) -> Allocation:
    source, receiver = request.allocation, request.to_project
    if source is None or receiver is None or request.consented_at is None:
        raise Overtaken(_("The project that is to receive the hours has not agreed yet."))
    if source.usable_until < timezone.now().date():
        raise Overtaken(_("This allocation has ended meanwhile: there is nothing to move any more."))
    target = _receiving(source, receiver, review)
    wanted = review.gpu_seconds_awarded
    try:
        ledger.transfer(source, target, wanted, review=review, by=by, reason=MOVED)
    except ledger.NotEnough as short:
        words = {
            "wanted": figure(hours(wanted)),
            "available": figure(hours(max(short.balance.available, 0))),
            "held": figure(hours(short.balance.held)),
        }
        raise Overtaken(
            _(
                "%(wanted)s GPU-hours can't be moved: only %(available)s are available now "
                "(%(held)s more are held for unfinished jobs). Approve fewer, or wait."
            )
            % words
        ) from short
    for allocation in (source, target):
        record("hours moved", allocation, by=by, project=allocation.project, gpu_seconds=wanted)
    return target


def _receiving(source: Allocation, receiver: Project, review: Review) -> Allocation:
    """The receiver's allocation on that cluster that lasts longest, or a new one with the same days."""
    today = timezone.now().date()
    theirs = Allocation.objects.filter(project=receiver, cluster=source.cluster).active(today)
    return theirs.order_by("-end", "pk").first() or Allocation.objects.create(
        project=receiver,
        cluster=source.cluster,
        start=source.start,
        end=source.end,
        usable_until=source.usable_until,
        review=review,
    )


def _changed(request: AllocationRequest) -> Allocation:
    """The allocation that a supplement or an extension changes, locked; not one whose hours have expired."""
    if request.allocation is None:
        raise ValueError(f"request {request.pk} names no allocation")
    allocation = ledger.lock(request.allocation)
    if allocation.settled_at is not None:
        raise Overtaken(
            _("This allocation has ended and is settled: what was left has expired. It can be renewed.")
        )
    return allocation


def _grant(by: User | None, allocation: Allocation, review: Review) -> None:
    """In one piece, or what is due of its tranches; the others are granted when their days come."""
    if review.tranches.exists():
        gpu_seconds = grant_tranches(allocation, timezone.now().date(), by=by)
    else:
        gpu_seconds = ledger.grant(allocation, review.gpu_seconds_awarded, review=review, by=by).gpu_seconds
    record(
        "hours granted",
        allocation,
        by=by,
        project=allocation.project,
        gpu_seconds=gpu_seconds,
        request=review.request_id,
    )


def _usable_until(cluster: Cluster, end: date) -> date:
    return end + timedelta(days=policy_of(cluster).grace_days)
