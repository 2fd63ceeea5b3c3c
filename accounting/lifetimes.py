"""Worker side: what becomes of allocations by the calendar. Each function may run at any time, any number of times.

What is due is found by a query, and done for one allocation in one transaction under its lock, where it is looked at
again: whoever comes second finds it done.

    tranches due are granted → two weeks before a checkpoint its PIs are warned → at it, unused hours beyond the policy's
    share expire → 30 and 7 days before the last day its PIs are told → after the last usable day, once no job holds
    hours, what may be carried over goes to the renewal and the rest expires
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from datetime import date, timedelta
from typing import TypeVar

from django.db import DatabaseError, models, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext_noop

from accounting import ledger
from accounting.models import Allocation, AllocationRequest, Hold, Policy, Review, Tranche, policy_of
from accounting.telling import tell_pis
from portal.models import Project, User
from portal.models.audit import record

log = logging.getLogger(__name__)
T = TypeVar("T", bound=models.Model)

WARNING = timedelta(days=14)  # before hours expire at a checkpoint
REMINDERS = (30, 7)  # days before the end
TRANCHE = gettext_noop("A part of the award whose day has come.")
CARRIED_OVER = gettext_noop("Carried over to the renewal, as the cluster's policy allows.")
CHECKPOINT = gettext_noop("Not used by the checkpoint of the cluster's policy.")
ENDED = gettext_noop("Not used before the allocation ended.")


def keep(today: date) -> None:
    """All of it, in the order of a life."""
    grant_due_tranches(today)
    hold_checkpoints(today)
    remind_of_ends(today)
    settle_ended(today)


# ── Tranches ─────────────────────────────────────────────────────────────────


def grant_due_tranches(today: date) -> int:
    """Grant what was awarded for a day that has come; to how many allocations."""
    waiting = Tranche.objects.filter(
        entries=None, available_from__lte=today, review__verdict=Review.Verdict.APPROVED
    ).select_related("review__request__allocation", "review__allocation")
    return _each(lambda tranche: _grant(allocation_of(tranche.review), today), waiting)


def awaited(allocation: Allocation) -> QuerySet[Tranche]:
    """Parts of its award, and of its supplements', that were not granted, in the order of their days."""
    supplements = Q(
        review__request__allocation=allocation,
        review__request__kind=AllocationRequest.Kind.SUPPLEMENT,
        review__verdict=Review.Verdict.APPROVED,
    )
    return Tranche.objects.filter(supplements | Q(review__allocation=allocation), entries=None)


def allocation_of(review: Review) -> Allocation | None:
    """The one that the review's award goes to: the one it made, or the one that the request is to add to."""
    made: Allocation | None = getattr(review, "allocation", None)
    if made or review.request.kind != AllocationRequest.Kind.SUPPLEMENT:
        return made
    return review.request.allocation


def grant_tranches(allocation: Allocation, today: date, *, by: User | None = None) -> int:
    """Those that are due and were not granted; GPU-seconds. Under its lock. A settled allocation gets no more."""
    if allocation.settled_at is not None:
        return 0
    last = min(today, allocation.usable_until)
    due = list(awaited(allocation).filter(available_from__lte=last).select_related("review"))
    for one in due:
        ledger.grant(allocation, one.gpu_seconds, review=one.review, tranche=one, by=by, reason=TRANCHE)
    return sum(one.gpu_seconds for one in due)


@transaction.atomic
def _grant(allocation: Allocation | None, today: date) -> bool:
    return bool(allocation and _grant_due(ledger.lock(allocation), today))


def _grant_due(allocation: Allocation, today: date) -> int:
    """`grant_tranches` with its audit row and mail. Of a closed project: granted if it opens again in time."""
    if allocation.project.state != Project.State.ACTIVE:
        return 0
    gpu_seconds = grant_tranches(allocation, today)
    if gpu_seconds:
        record("tranche granted", allocation, by=None, project=allocation.project, gpu_seconds=gpu_seconds)
        left = ledger.balance(allocation).available
        tell_pis(
            "tranche_granted",
            allocation,
            reason=f"tranches to {today}",
            gpu_seconds=gpu_seconds,
            left=left,
        )
    return gpu_seconds


# ── Use it or lose it ────────────────────────────────────────────────────────


def checkpoint_of(allocation: Allocation, policy: Policy) -> date | None:
    """The day on which the policy looks at how much was used; None without such a day."""
    if not policy.checkpoint_percent:
        return None
    days = (allocation.end - allocation.start).days + 1
    return allocation.start + timedelta(days=-(-days * policy.checkpoint_percent // 100))


def behind(allocation: Allocation, policy: Policy) -> int:
    """GPU-seconds that the checkpoint would take now: missing to the policy's share, as far as they are free."""
    balance = ledger.balance(allocation)
    wanted = balance.granted * policy.checkpoint_used_percent // 100
    return max(min(wanted - balance.used - balance.held, balance.available), 0)


def hold_checkpoints(today: date) -> int:
    """Warn two weeks before; then let expire. How many were held. Nobody loses hours who was not warned in time."""
    policies = {policy.cluster_id: policy for policy in Policy.objects.filter(checkpoint_percent__gt=0)}
    open_ones = Allocation.objects.unsettled().filter(
        cluster__in=policies, checked_at=None, suspended_at=None, start__lte=today, end__gte=today
    )
    return _each(lambda one: _checkpoint(one, policies[one.cluster_id], today), open_ones)


@transaction.atomic
def _checkpoint(allocation: Allocation, policy: Policy, today: date) -> int:
    day = checkpoint_of(allocation, policy)
    if day is None or today < day - WARNING:
        return 0
    allocation = ledger.lock(allocation)
    if allocation.checked_at is not None or allocation.suspended_at is not None:
        return 0
    _grant_due(allocation, today)
    missing = behind(allocation, policy)
    if missing and allocation.warned_at is None:
        _warn(allocation, policy, max(day, today + WARNING), missing)
    if today < day or (missing and not _was_warned(allocation, today)):
        return 0
    _mark(allocation, checked_at=timezone.now())
    if missing:
        ledger.expire(allocation, missing, reason=CHECKPOINT)
    record("checkpoint held", allocation, by=None, project=allocation.project, gpu_seconds=missing)
    return 1


def _was_warned(allocation: Allocation, today: date) -> bool:
    return allocation.warned_at is not None and allocation.warned_at.date() + WARNING <= today


def _warn(allocation: Allocation, policy: Policy, day: date, missing: int) -> None:
    _mark(allocation, warned_at=timezone.now())
    tell_pis(
        "checkpoint_warning",
        allocation,
        reason="checkpoint warning",
        day=day.isoformat(),
        percent=policy.checkpoint_used_percent,
        gpu_seconds=missing,
    )


# ── The end ──────────────────────────────────────────────────────────────────


def remind_of_ends(today: date) -> None:
    """Tell the PIs 30 and 7 days before the last day, once each; a later last day is told of anew."""
    ending = Allocation.objects.unsettled().filter(
        start__lte=today, end__gte=today, end__lte=today + timedelta(days=max(REMINDERS))
    )
    ending = ending.filter(project__state=Project.State.ACTIVE).select_related("project__lab", "cluster")
    balances = ledger.balances(ending)
    for allocation in ending:
        left = (allocation.end - today).days
        days = min(step for step in REMINDERS if left <= step)
        if allocation.start + timedelta(days=days) <= allocation.end:
            tell_pis(
                "ending_soon",
                allocation,
                reason=f"{days} days before {allocation.end}",
                left=balances[allocation.pk].available,
                usable_until=allocation.usable_until.isoformat(),
            )


def settle_ended(today: date) -> int:
    """Carry over, and let expire, what is left of those that ended, once no job holds any of it; how many."""
    over = Allocation.objects.unsettled().filter(usable_until__lt=today).exclude(Exists(_asked_to_renew()))
    idle = over.exclude(Exists(Hold.objects.open().filter(allocation=OuterRef("pk"))))
    return _each(lambda one: _settle(one, today), idle)


def _asked_to_renew() -> QuerySet[AllocationRequest]:
    """With the centre: hours that may be carried over wait for its decision."""
    return AllocationRequest.objects.waiting().filter(
        kind=AllocationRequest.Kind.RENEWAL,
        allocation=OuterRef("pk"),
        allocation__cluster__policy__carry_over_percent__gt=0,
    )


@transaction.atomic
def _settle(allocation: Allocation, today: date) -> int:
    allocation = ledger.lock(allocation)
    still_over = allocation.usable_until < today and not Hold.objects.open().filter(allocation=allocation)
    if allocation.settled_at is not None or not still_over:
        return 0
    _grant_due(allocation, today)
    _carry_over(allocation)
    left = max(ledger.balance(allocation).available, 0)
    if left:
        ledger.expire(allocation, left, reason=ENDED)
    _mark(allocation, settled_at=timezone.now())
    record("allocation settled", allocation, by=None, project=allocation.project, gpu_seconds=left)
    tell_pis("expired", allocation, reason=f"expired {allocation.end}", gpu_seconds=left)
    return 1


def _carry_over(allocation: Allocation) -> None:
    """To its renewal, once: at most the policy's share of what was granted."""
    renewal = allocation.renewals.filter(settled_at=None).select_related("review").first()
    percent = policy_of(allocation.cluster).carry_over_percent
    if renewal is None or renewal.review is None or not percent:
        return
    balance = ledger.balance(allocation)
    amount = min(balance.available, balance.granted * percent // 100)
    if amount > 0:
        ledger.transfer(allocation, renewal, amount, review=renewal.review, by=None, reason=CARRIED_OVER)


def _each(deed: Callable[[T], int], things: Iterable[T]) -> int:
    """The sum of what was done. One that can't be done is an alarm in the log, and stops no other."""
    count = 0
    for thing in things:
        try:
            count += deed(thing)
        except DatabaseError:
            log.exception("what is due for %r could not be done", thing)
    return count


def _mark(allocation: Allocation, **marks: object) -> None:
    Allocation.objects.filter(pk=allocation.pk).update(**marks)
    for name, value in marks.items():
        setattr(allocation, name, value)
