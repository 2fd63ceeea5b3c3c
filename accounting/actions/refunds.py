"""What staff answer to a proposed refund: give the hours back, or not. One transaction each, with `by`."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from accounting import ledger
from accounting.actions.own import check_not_own_lab
from accounting.models import LedgerEntry, RefundProposal
from accounting.telling import tell_pis
from portal.models import User
from portal.permissions import Permission, check_permission
from portal.transitions import Overtaken, step

State = RefundProposal.State
NODE_FAILED = gettext_noop("A node of the cluster failed under this run.")


@transaction.atomic
def approve(*, by: User, proposal: RefundProposal, reason: str = "") -> LedgerEntry:
    """Give back what is left of the run's charge. The PIs get a mail."""
    _check(by, proposal)
    ledger.lock(proposal.allocation)  # as everybody does first who writes to its ledger
    try:
        entry = ledger.refund(
            proposal.usage_record_id, proposal.gpu_seconds, by=by, reason=reason or NODE_FAILED
        )
    except ledger.NothingToRefund:
        raise Overtaken(_("Nothing is left of this run's charge: it was given back already.")) from None
    _decide(proposal, State.APPROVED, by=by, reason=reason, entry=entry)
    tell_pis(
        "refunded",
        proposal.allocation,
        reason=f"refund {proposal.pk}",
        job=proposal.usage_record.job_id,
        gpu_seconds=entry.gpu_seconds,
        why=reason,
    )
    return entry


@transaction.atomic
def decline(*, by: User, proposal: RefundProposal, reason: str) -> None:
    """The charge stays, for a reason."""
    _check(by, proposal)
    _decide(proposal, State.DECLINED, by=by, reason=reason)


@transaction.atomic
def decide_many(*, by: User, proposals: Iterable[RefundProposal], approved: bool, reason: str) -> int:
    """The same answer to several; those that somebody else decided meanwhile stay as they are. How many it moved."""
    decided = 0
    for one in sorted(proposals, key=lambda one: (one.allocation_id, one.pk)):
        try:
            if approved:
                approve(by=by, proposal=one, reason=reason)
            else:
                decline(by=by, proposal=one, reason=reason)
        except Overtaken:
            continue
        decided += 1
    return decided


def _check(by: User, proposal: RefundProposal) -> None:
    check_permission(by, Permission.DECIDE_REFUND)
    check_not_own_lab(by, proposal.allocation.project.lab)


def _decide(
    proposal: RefundProposal, to: str, *, by: User, reason: str, entry: LedgerEntry | None = None
) -> None:
    now = timezone.now()
    step(
        proposal,
        to,
        by=by,
        project=proposal.allocation.project,
        note=reason,
        decided_by=by,
        decided_at=now,
        reason=reason,
        entry=entry,
    )
