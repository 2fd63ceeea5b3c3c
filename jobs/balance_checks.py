"""Does what is held follow from the jobs, and all the rest from the facts? Asked each night, and by `check_balances`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from django.db.models import Exists, OuterRef

from accounting import differences, rebuilding
from accounting.models import BalanceDifference, Hold
from accounting.one_moment import one_moment
from accounting.rebuilding import AT_ONCE, Difference
from accounting.units import worst_case
from jobs.models import Job
from jobs.states import UNFINISHED

HOLD = BalanceDifference.Kind.HOLD


def check() -> int:
    """Reckon all anew, and keep what does not fit where staff see it. How many differences are new."""
    return differences.note(found())


def found() -> list[Difference]:
    with one_moment():
        return list(chain(holds(), rebuilding.differences()))


def holds() -> Iterator[Difference]:
    """Each unfinished job has one open hold, on the allocation that pays for it; no other is open."""
    unfinished = Job.objects.filter(state__in=UNFINISHED)
    theirs = unfinished.filter(token=OuterRef("reference"), allocation=OuterRef("allocation"))
    stray = Hold.objects.open().filter(~Exists(theirs)).select_related("allocation").order_by("pk")
    for hold in stray.iterator(chunk_size=AT_ONCE):
        cluster = hold.allocation.cluster_id
        yield Difference(HOLD, f"hold {hold.reference}", 0, hold.gpu_seconds, cluster, hold.allocation_id)
    held = Hold.objects.open().filter(reference=OuterRef("token"))
    bare = unfinished.filter(~Exists(held)).select_related("partition").prefetch_related("partition__factors")
    for job in bare.order_by("pk").iterator(chunk_size=AT_ONCE):
        price = job.partition.factor_at(job.created_at)
        expected = worst_case(job.gpus, job.time_limit_minutes, price, tasks=job.tasks)
        yield Difference(HOLD, f"job {job.pk}", expected, 0, job.cluster_id, job.allocation_id)
