"""Calls for requests: opened, changed and closed by staff. One transaction each, with `by`."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from accounting.models import Call, Cluster
from portal.models import User
from portal.models.audit import record
from portal.permissions import Permission, check_permission
from portal.transitions import Overtaken


@transaction.atomic
def make_call(
    *,
    by: User,
    title: str,
    text: str,
    cluster: Cluster,
    opens_at: datetime,
    closes_at: datetime,
    gpu_seconds: int | None = None,
) -> Call:
    check_permission(by, Permission.KEEP_CALLS)
    call = Call.objects.create(
        title=title,
        text=text,
        cluster=cluster,
        opens_at=opens_at,
        closes_at=closes_at,
        gpu_seconds=gpu_seconds,
        created_by=by,
    )
    record("call made", call, by=by, closes_at=closes_at.isoformat(), gpu_seconds=gpu_seconds)
    return call


@transaction.atomic
def change_call(
    *,
    by: User,
    call: Call,
    title: str,
    text: str,
    cluster: Cluster,
    opens_at: datetime,
    closes_at: datetime,
    gpu_seconds: int | None = None,
) -> None:
    """Change what it says or its days. Its requests stay with it."""
    check_permission(by, Permission.KEEP_CALLS)
    before = call.closes_at
    call.title, call.text, call.cluster = title, text, cluster
    call.opens_at, call.closes_at, call.gpu_seconds = opens_at, closes_at, gpu_seconds
    call.save()
    deadlines = [before.isoformat(), closes_at.isoformat()]
    record("call changed", call, by=by, deadlines=deadlines, gpu_seconds=gpu_seconds)


@transaction.atomic
def close_call(*, by: User, call: Call) -> None:
    """Take no more requests from now on."""
    check_permission(by, Permission.KEEP_CALLS)
    now = timezone.now()
    if not Call.objects.open().filter(pk=call.pk).update(closes_at=now):
        raise Overtaken(_("This call is not open."))
    record("call closed", call, by=by, deadlines=[call.closes_at.isoformat(), now.isoformat()])
