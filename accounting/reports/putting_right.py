"""What in the ledger and in the records waits for the centre: what is to be decided, and what does not add up?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from accounting.models import BalanceDifference, Correction, Discrepancy, QuarantinedRecord, RefundProposal
from portal.lists import counts
from portal.models import User
from portal.permissions import Permission, has_permission


@dataclass(frozen=True)
class Waiting:
    """How many of each wait for the person."""

    refunds: int = 0
    corrections: int = 0
    differences: int = 0  # of balances and days from the facts
    discrepancies: int = 0  # of our sums from the scheduler's
    quarantined: int = 0  # records that can't be read

    @property
    def any(self) -> bool:
        return self != Waiting()


def waiting_for(user: User) -> Waiting:
    """For Home. One query for the centre, none for others."""
    if not has_permission(user, Permission.AGREE_TO_CORRECTION):
        return Waiting()
    waits: dict[str, QuerySet[Any]] = {
        "corrections": Correction.objects.filter(state=Correction.State.PROPOSED).exclude(proposed_by=user)
    }
    if has_permission(user, Permission.SEE_CLUSTERS):
        waits |= {
            "refunds": RefundProposal.objects.filter(state=RefundProposal.State.PROPOSED),
            "differences": BalanceDifference.objects.filter(cleared_at=None),
            "discrepancies": Discrepancy.objects.open(),
            "quarantined": QuarantinedRecord.objects.unseen(),
        }
    return Waiting(**counts(**waits))
