"""What should have been done and was not: the answer to lost, late and doubled doorbells."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from accounting.models import Cluster
from jobs.dispatch import STALE
from jobs.models import MAX_ATTEMPTS, Association, ClusterAccount, Fetch, Job
from jobs.states import ON_CLUSTER, State

ASK_AGAIN = timedelta(seconds=10)
MOST = 100  # rings of one kind in one sweep: the rest are there at the next
LIST_FOR = timedelta(days=1)  # outputs that could not be listed for so long are gone


def overdue() -> Iterator[tuple[str, int | str]]:
    """(task, argument) for everything that waits without anyone having been rung, as far as the database tells."""
    now = timezone.now()
    for account in ClusterAccount.objects.leaving()[:MOST]:
        yield "off_board", account.pk
    to_make = Association.objects.live().filter(account=OuterRef("pk"), made_at=None)
    accounts = ClusterAccount.objects.approved().exclude(state=ClusterAccount.State.DISABLED)
    for account in accounts.filter(Q(state=ClusterAccount.State.REQUESTED) | Exists(to_make))[:MOST]:
        yield "provision", account.pk
    for cluster in Cluster.objects.filter(accepts_jobs=True):
        jobs = Job.objects.filter(cluster=cluster)
        ready = Q(not_before=None) | Q(not_before__lte=now)
        if jobs.filter(ready, state=State.NEW, attempts__lt=MAX_ATTEMPTS).exists():
            yield "dispatch", cluster.pk
        if jobs.filter(state=State.SUBMITTING, claimed_at__lt=now - STALE).exists():
            yield "resolve", cluster.pk
        if jobs.filter(state__in=ON_CLUSTER, cancel_requested_at__lt=now - ASK_AGAIN).exists():
            yield "cancel", cluster.pk
    unlisted = Job.objects.final().filter(
        outputs_listed_at=None, ended_at__gt=now - LIST_FOR, ended_at__lt=now - ASK_AGAIN
    )
    for job in unlisted.exclude(scheduler_id="")[:MOST]:
        yield "list_outputs", job.pk
    for fetch in Fetch.objects.filter(state=Fetch.State.WANTED, asked_at__lt=now - ASK_AGAIN)[:MOST]:
        yield "bring_file", str(fetch.pk)
