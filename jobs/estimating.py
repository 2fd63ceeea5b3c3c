"""Worker side: ask the scheduler when a job of some shape would start. It answers without taking the job."""

from __future__ import annotations

import logging

from django.utils import timezone

from jobs import health
from jobs.clusters import connect_to
from jobs.models import ClusterAccount, StartEstimate
from jobs.schedulers import AnswerError
from jobs.sending import spec_of
from jobs.spec import ClusterError

log = logging.getLogger(__name__)


def answer(estimate_id: int) -> None:
    """One remote call, as the member: only then do its limits and rights count."""
    wanted = StartEstimate.objects.select_related("project", "partition__cluster").get(pk=estimate_id)
    cluster = wanted.partition.cluster
    if not health.may_try(cluster.pk):
        return
    account = ClusterAccount.objects.get(user=wanted.user_id, cluster=cluster)
    if not account.is_active:
        return  # they left since they asked
    starts_at, refusal = None, ""
    try:
        with connect_to(cluster.name) as door:
            starts_at = door.estimate(account.username, spec_of(wanted))
    except AnswerError as error:
        refusal = str(error)
    except ClusterError as error:
        log.warning("cluster %s: no estimate: %s", cluster.name, error)
        return
    StartEstimate.objects.filter(pk=wanted.pk).update(
        answered_at=timezone.now(), starts_at=starts_at, refusal=refusal[:300]
    )
