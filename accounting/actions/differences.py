"""What staff found out about a difference. One transaction, with `by`."""

from __future__ import annotations

from django.db import transaction

from accounting.models import BalanceDifference
from portal.models import User
from portal.models.audit import record
from portal.permissions import Permission, check_permission


@transaction.atomic
def explain(*, by: User, difference: BalanceDifference, cause: str) -> None:
    """Keep the cause beside it. Only a later check clears it: an explanation mends no figure."""
    check_permission(by, Permission.SEE_CLUSTERS)
    BalanceDifference.objects.filter(pk=difference.pk).update(cause=cause, explained_by=by)
    record("difference explained", difference, by=by, cause=cause, subject=difference.subject)
