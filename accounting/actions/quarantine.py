"""What staff say of a record that could not be read: somebody looked, and this is what it was."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from accounting.models import QuarantinedRecord
from portal.models import User
from portal.models.audit import record
from portal.permissions import Permission, check_permission
from portal.transitions import Overtaken


@transaction.atomic
def look_at_record(*, by: User, quarantined: QuarantinedRecord, note: str) -> None:
    """Raises Overtaken if somebody looked before. The record stays, and is still not counted."""
    check_permission(by, Permission.KEEP_COLLECTING)
    unseen = QuarantinedRecord.objects.unseen().filter(pk=quarantined.pk)
    if not unseen.update(looked_at=timezone.now(), looked_by=by, note=note):
        raise Overtaken(_("Somebody was faster: this record has been looked at."))
    quarantined.refresh_from_db()
    record("quarantined record looked at", quarantined, by=by, cluster=quarantined.cluster.name, note=note)
