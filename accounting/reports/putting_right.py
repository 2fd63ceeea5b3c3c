"""What in the ledger and in the records waits for the centre: what is to be decided, and what does not add up?"""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet

from accounting.models import BalanceDifference, Correction, Discrepancy, QuarantinedRecord, RefundProposal
from portal.models import User
from portal.permissions import Permission, has_permission


def waiting_for(user: User) -> dict[str, QuerySet[Any]]:
    """By name, what waits for the person; Home counts it."""
    if not has_permission(user, Permission.AGREE_TO_CORRECTION):
        return {}
    waits: dict[str, QuerySet[Any]] = {
        "corrections": Correction.objects.filter(state=Correction.State.PROPOSED).exclude(proposed_by=user)
    }
    if has_permission(user, Permission.SEE_CLUSTERS):
        waits |= {
            "refunds": RefundProposal.objects.filter(state=RefundProposal.State.PROPOSED),
            # Balances and days that don't follow from the facts, and sums that differ from the scheduler's.
            "differences": BalanceDifference.objects.filter(cleared_at=None),
            "discrepancies": Discrepancy.objects.open(),
            "quarantined": QuarantinedRecord.objects.unseen(),
        }
    return waits
