"""Corrections of a balance by hand: at once, or above the policy's threshold by two. One transaction each, with `by`."""

from __future__ import annotations

from datetime import timedelta

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Sum
from django.db.models.functions import Abs
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from accounting import ledger
from accounting.actions.own import check_not_own_lab, is_own
from accounting.models import Allocation, Correction, LedgerEntry, policy_of
from portal.emails import people_with, post
from portal.models import Role, User
from portal.models.audit import record
from portal.permissions import Permission, check_permission
from portal.transitions import step

State = Correction.State
TOGETHER = timedelta(days=30)  # corrections of so many days are added up: ten small ones are a large one


@transaction.atomic
def adjust(*, by: User, allocation: Allocation, gpu_seconds: int, reason: str) -> LedgerEntry | Correction:
    """Correct a balance: more hours, or fewer (negative). Above the policy's threshold, propose it to a second person."""
    check_permission(by, Permission.ADJUST_HOURS)
    check_not_own_lab(by, allocation.project.lab)
    ledger.lock(allocation)  # two at once are added up
    if needs_second(allocation, gpu_seconds):
        return _propose(by, allocation, gpu_seconds, reason)
    entry = ledger.adjust(allocation, gpu_seconds, by=by, reason=reason)
    _record(allocation, gpu_seconds, reason, by=by)
    return entry


@transaction.atomic
def approve(*, by: User, correction: Correction, comment: str = "") -> LedgerEntry:
    """As the second person: the entry is written, with the first one's name and reason."""
    check_may_decide(by, correction)
    if by.pk == correction.proposed_by_id:
        raise PermissionDenied(_("You proposed this correction. Somebody else has to agree to it."))
    allocation = ledger.lock(correction.allocation)
    entry = ledger.adjust(
        allocation, correction.gpu_seconds, by=correction.proposed_by, reason=correction.reason
    )
    _decide(correction, State.APPROVED, by=by, comment=comment, entry=entry)
    _record(correction.allocation, correction.gpu_seconds, correction.reason, by=by, second=True)
    return entry


@transaction.atomic
def decline(*, by: User, correction: Correction, comment: str) -> None:
    """Say no; for who proposed it: take it back."""
    check_may_decide(by, correction)
    _decide(correction, State.DECLINED, by=by, comment=comment)


def check_may_decide(by: User, correction: Correction) -> None:
    if by.pk != correction.proposed_by_id:
        check_permission(by, Permission.AGREE_TO_CORRECTION)
    check_not_own_lab(by, correction.allocation.project.lab)


def needs_second(allocation: Allocation, gpu_seconds: int) -> bool:
    """Whether the policy wants two people for it, with what was corrected on this allocation of late by one alone."""
    threshold = policy_of(allocation.cluster).second_person_above
    if threshold is None:
        return False
    alone = allocation.entries.filter(
        kind=LedgerEntry.Kind.ADJUSTMENT, usage_record=None, at__gt=timezone.now() - TOGETHER
    ).exclude(pk__in=Correction.objects.filter(allocation=allocation, entry__isnull=False).values("entry"))
    before: int = alone.aggregate(sum=Sum(Abs("gpu_seconds"), default=0))["sum"]
    return before + abs(gpu_seconds) > threshold


def _propose(by: User, allocation: Allocation, gpu_seconds: int, reason: str) -> Correction:
    correction = Correction.objects.create(
        allocation=allocation, gpu_seconds=gpu_seconds, reason=reason, proposed_by=by
    )
    record(
        "correction proposed",
        correction,
        by=by,
        project=allocation.project,
        gpu_seconds=gpu_seconds,
        reason=reason,
    )
    lab = allocation.project.lab
    for person in people_with(Role.STAFF, Role.APPROVER):
        if person != by and not is_own(person, lab):
            _mail("correction_proposed", person, correction, who=by.name, why=reason)
    return correction


def _decide(
    correction: Correction, to: str, *, by: User, comment: str, entry: LedgerEntry | None = None
) -> None:
    step(
        correction,
        to,
        by=by,
        project=correction.allocation.project,
        note=comment,
        decided_by=by,
        decided_at=timezone.now(),
        comment=comment,
        entry=entry,
    )
    if by.pk != correction.proposed_by_id:
        agreed = int(to == State.APPROVED)
        _mail(
            "correction_decided", correction.proposed_by, correction, who=by.name, why=comment, agreed=agreed
        )


def _record(allocation: Allocation, gpu_seconds: int, reason: str, *, by: User, second: bool = False) -> None:
    words = {"gpu_seconds": gpu_seconds, "reason": reason} | ({"second": True} if second else {})
    record("balance corrected", allocation, by=by, project=allocation.project, **words)


def _mail(template: str, to: User, correction: Correction, **words: str | int) -> None:
    post(
        template,
        to=to,
        key=f"{template} {correction.pk}",
        path=reverse("accounting:corrections"),
        project=correction.allocation.project.title,
        cluster=correction.allocation.cluster.title,
        gpu_seconds=abs(correction.gpu_seconds),
        more=int(correction.gpu_seconds > 0),
        seal=None,
        **words,
    )
