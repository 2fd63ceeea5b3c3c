"""One worker at a time makes a cluster account or takes it away: the two must never meet on the cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from django.db.models import Q
from django.utils import timezone

from jobs.models import ClusterAccount

LONGEST = timedelta(minutes=10)  # a worker that was killed is not waited for longer


@contextmanager
def holding(account: ClusterAccount) -> Iterator[bool]:
    """False: another worker has it. It was read before: what counts is what the database says inside."""
    now = timezone.now()
    until = now + LONGEST
    free = ClusterAccount.objects.filter(Q(lease_until=None) | Q(lease_until__lte=now), pk=account.pk)
    if not free.update(lease_until=until):
        yield False
        return
    try:
        yield True
    finally:
        ClusterAccount.objects.filter(pk=account.pk, lease_until=until).update(lease_until=None)
