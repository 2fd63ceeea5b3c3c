"""What people do with an allocation between its beginning and its end. One transaction each, with `by`."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from accounting.models import Allocation, ProgressReport, Publication
from accounting.telling import tell_pis
from portal.models import User
from portal.models.audit import record
from portal.permissions import Permission, check_permission
from portal.transitions import Overtaken


@transaction.atomic
def suspend(*, by: User, allocation: Allocation, reason: str) -> None:
    """No new jobs until it is resumed; those that were submitted go on."""
    check_permission(by, Permission.SUSPEND_ALLOCATION)
    changed = Allocation.objects.filter(pk=allocation.pk, suspended_at=None, settled_at=None).update(
        suspended_at=timezone.now(), suspended_by=by, suspension_reason=reason
    )
    if not changed:
        raise Overtaken(_("Somebody was faster: this allocation is already suspended, or has ended."))
    event = record("allocation suspended", allocation, by=by, project=allocation.project, reason=reason)
    tell_pis("suspended", allocation, reason=f"suspended {event.pk}", why=reason)


@transaction.atomic
def resume(*, by: User, allocation: Allocation) -> None:
    """Let it be used again. One that is not suspended stays as it is."""
    check_permission(by, Permission.SUSPEND_ALLOCATION)
    suspended = Allocation.objects.filter(pk=allocation.pk, suspended_at__isnull=False)
    if suspended.update(suspended_at=None, suspended_by=None, suspension_reason=""):
        event = record("allocation resumed", allocation, by=by, project=allocation.project)
        tell_pis("resumed", allocation, reason=f"resumed {event.pk}")


@transaction.atomic
def write_report(
    *, by: User, allocation: Allocation, text: str, publication: Publication | None = None
) -> ProgressReport:
    """Tell what was done with the hours. Writing again replaces it; the centre reads it with the renewal's request.

    `publication`, not saved yet, is kept with the project; one of the same DOI is written anew.
    """
    check_permission(by, Permission.WRITE_REPORT, lab=allocation.project.lab)
    report, _new = ProgressReport.objects.update_or_create(
        allocation=allocation, defaults={"text": text, "written_by": by, "written_at": timezone.now()}
    )
    if publication is not None:
        Publication.objects.update_or_create(
            project=allocation.project,
            doi=publication.doi,
            defaults={"title": publication.title, "year": publication.year, "added_by": by},
        )
    record("progress report written", allocation, by=by, project=allocation.project)
    return report
