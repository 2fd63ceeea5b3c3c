"""What staff do about sums that differ from the scheduler's."""

from __future__ import annotations

from django.db import transaction

from accounting.models import Discrepancy
from portal.models import User
from portal.permissions import Permission, check_permission
from portal.transitions import step


@transaction.atomic
def explain(*, by: User, discrepancy: Discrepancy, explanation: str) -> None:
    """Say why the figures differ. It holds as long as they stay as they are. Overtaken: it is not open any more."""
    check_permission(by, Permission.EXPLAIN_DISCREPANCY)
    step(
        discrepancy,
        Discrepancy.State.EXPLAINED,
        by=by,
        cause=Discrepancy.Cause.BY_HAND,
        note=explanation,
        explanation=explanation,
        explained_by=by,
    )
