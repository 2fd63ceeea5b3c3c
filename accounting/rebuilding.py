"""Do the balances and the days follow from the facts? Both are reckoned anew, from records, decisions and prices alone.

docs/decisions/012 lists what must hold. Memory does not grow with the number of records: they are streamed, and of sums
there is one for each allocation, and one for each day of one account at a time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import date
from itertools import chain
from typing import NamedTuple

from django.db.models import Exists, F, Max, Min, OuterRef, Q, QuerySet, Sum
from django.db.models.functions import Coalesce

from accounting import ledger, months, summing
from accounting.models import (
    Allocation,
    AllocationRequest,
    BalanceDifference,
    Cluster,
    LedgerEntry,
    Partition,
    Review,
    UsageCorrection,
    UsageDay,
    UsageRecord,
)
from accounting.periods import Month, month_of
from accounting.runs import Holding
from accounting.units import charged

Kind = BalanceDifference.Kind
Entry = LedgerEntry.Kind
RequestKind = AllocationRequest.Kind
AT_ONCE = 2_000  # rows in memory


class Difference(NamedTuple):
    """Something that does not follow from the facts, in GPU-seconds."""

    kind: str
    subject: str
    expected: int
    found: int
    cluster_id: int | None = None
    allocation_id: int | None = None


def differences() -> Iterator[Difference]:
    """All there are. Read it inside `one_moment`: what is written meanwhile would look like a difference."""
    return chain(sums(), runs(), uncharged(), grants(), transfers(), days())


# ── Sums ─────────────────────────────────────────────────────────────────────


def sums() -> Iterator[Difference]:
    """What is kept beside the ledger is what its entries sum up to, and how many they are."""
    are, kept = summing.of_entries(LedgerEntry.objects.all()), summing.as_kept()
    clusters = dict(Allocation.objects.order_by().values_list("pk", "cluster"))
    for cell in sorted({*are, *kept}):
        subject = f"allocation {cell.allocation_id} {cell.kind}{' of runs' if cell.of_runs else ''}"
        expected, found = are.get(cell, summing.Total()), kept.get(cell, summing.Total())
        for what, one, other in zip(("", " entries"), expected, found, strict=True):
            if one != other:
                cluster = clusters[cell.allocation_id]
                yield Difference(Kind.SUM, f"{subject}{what}", one, other, cluster, cell.allocation_id)


# ── Runs ─────────────────────────────────────────────────────────────────────


def runs() -> Iterator[Difference]:
    """Each charged run costs what its record says, × its price; and so each allocation has used what its runs cost."""
    of_refund = Q(kind=Entry.REFUND) | Q(cites__kind=Entry.REFUND)
    rows = (
        LedgerEntry.objects.filter(usage_record__isnull=False)
        .order_by()
        .values(
            "usage_record", "usage_record__gpu_seconds", "usage_record__provisional", "usage_record__cluster"
        )
        .annotate(
            payer=Min("allocation"),
            price=Max("factor", filter=Q(kind=Entry.CHARGE)),
            of_all=Sum("gpu_seconds"),
            refunded=Sum("gpu_seconds", filter=of_refund, default=0),
        )
        .order_by("usage_record")
    )
    used: dict[int, int] = defaultdict(int)
    for record, gpu_seconds, provisional, cluster, payer, price, of_all, refunded in rows.values_list(
        "usage_record",
        "usage_record__gpu_seconds",
        "usage_record__provisional",
        "usage_record__cluster",
        "payer",
        "price",
        "of_all",
        "refunded",
    ).iterator(chunk_size=AT_ONCE):
        cost = 0 if provisional or price is None else charged(gpu_seconds, price)
        used[payer] += cost - refunded
        found = refunded - of_all
        if found != cost:
            yield Difference(Kind.CHARGE, f"run {record}", cost, found, cluster, payer)
        if not 0 <= refunded <= cost:
            yield Difference(Kind.REFUND, f"run {record}", cost, refunded, cluster, payer)
    yield from _used(used)


def _used(used: dict[int, int]) -> Iterator[Difference]:
    allocations = list(Allocation.objects.only("pk", "cluster_id"))
    for at in range(0, len(allocations), AT_ONCE):
        some = allocations[at : at + AT_ONCE]
        balances = ledger.balances(some)
        for one in some:
            expected, found = used.get(one.pk, 0), balances[one.pk].used
            if expected != found:
                yield Difference(Kind.USED, f"allocation {one.pk}", expected, found, one.cluster_id, one.pk)


def uncharged() -> Iterator[Difference]:
    """A run that ended on a project's account, while that had an allocation on the cluster, was charged."""
    entries = LedgerEntry.objects.filter(usage_record=OuterRef("pk"))
    payer = Allocation.objects.filter(
        project=OuterRef("project"), cluster=OuterRef("cluster"), created_at__lte=OuterRef("changed_at")
    )
    records = UsageRecord.objects.filter(
        project__isnull=False, start__isnull=False, provisional=False, gpu_seconds__gt=0
    ).filter(~Exists(entries), Exists(payer))
    partitions = {
        (one.cluster_id, one.name): one for one in Partition.objects.prefetch_related("factors").all()
    }
    rows = records.order_by("pk").values_list("pk", "cluster", "partition", "start", "gpu_seconds")
    for pk, cluster, name, start, gpu_seconds in rows.iterator(chunk_size=AT_ONCE):
        partition = partitions.get((cluster, name))
        cost = charged(gpu_seconds, partition.factor_at(start)) if partition and start else gpu_seconds
        if cost:
            yield Difference(Kind.CHARGE, f"run {pk}", cost, 0, cluster)


# ── Decisions ────────────────────────────────────────────────────────────────


def grants() -> Iterator[Difference]:
    """Each grant is what was decided, or a tranche of it; and what was decided was granted."""
    decided = Coalesce("tranche__gpu_seconds", "review__gpu_seconds_awarded")
    wrong = LedgerEntry.objects.filter(kind=Entry.GRANT).annotate(decided=decided)
    for entry in wrong.exclude(gpu_seconds=F("decided")).select_related("allocation"):
        yield Difference(
            Kind.GRANT,
            f"grant {entry.pk}",
            entry.decided,
            entry.gpu_seconds,
            entry.allocation.cluster_id,
            entry.allocation_id,
        )
    granting = (RequestKind.NEW, RequestKind.RENEWAL, RequestKind.SUPPLEMENT)
    missing = (
        Review.objects.filter(verdict=Review.Verdict.APPROVED, request__kind__in=granting)
        .filter(gpu_seconds_awarded__gt=0, tranches=None, request__state=AllocationRequest.State.APPROVED)
        .exclude(Exists(LedgerEntry.objects.filter(kind=Entry.GRANT, review=OuterRef("pk"))))
        .select_related("request")
    )
    for review in missing:
        yield Difference(
            Kind.GRANT, f"decision {review.pk}", review.gpu_seconds_awarded, 0, review.request.cluster_id
        )


def transfers() -> Iterator[Difference]:
    """What left an allocation arrived in another."""
    departures: QuerySet[LedgerEntry] = LedgerEntry.objects.filter(kind=Entry.TRANSFER, gpu_seconds__lt=0)
    arrived = Sum("cited_by__gpu_seconds", filter=Q(cited_by__kind=Entry.TRANSFER), default=0)
    for entry in (
        departures.annotate(arrived=arrived)
        .exclude(arrived=-F("gpu_seconds"))
        .select_related("allocation")
        .order_by("pk")
    ):
        yield Difference(
            Kind.TRANSFER,
            f"transfer {entry.pk}",
            -entry.gpu_seconds,
            entry.arrived,
            entry.allocation.cluster_id,
            entry.allocation_id,
        )


# ── Days ─────────────────────────────────────────────────────────────────────


class Sums(NamedTuple):
    gpu_seconds: int = 0
    provisional: int = 0
    shard_seconds: int = 0


NOTHING = Sums()


def days() -> Iterator[Difference]:
    """The rows of each day, and what corrects it, sum to what its records held then: by account, which is by project."""
    for cluster in Cluster.objects.order_by("pk"):
        closed = months.closed(cluster)
        accounts = {
            *UsageRecord.objects.filter(cluster=cluster)
            .order_by()
            .values_list("account", flat=True)
            .distinct(),
            *UsageDay.objects.filter(cluster=cluster).order_by().values_list("account", flat=True).distinct(),
        }
        for account in sorted(accounts):
            yield from _days_of(cluster, account, closed)


def _days_of(cluster: Cluster, account: str, closed: frozenset[Month]) -> Iterator[Difference]:
    should, are = as_they_should_be(cluster, account), _as_they_are(cluster, account)
    for day in sorted({*should, *are}):
        expected, found = should.get(day, NOTHING), are.get(day, NOTHING)
        if month_of(day) in closed:  # what was provisional when it was closed is still told so
            expected = expected._replace(provisional=found.provisional)
        for what, one, other in zip(("", " provisional", " shards"), expected, found, strict=True):
            if one != other:
                subject = f"{cluster.name} {day} {account}{what}"
                yield Difference(Kind.DAY, subject, one, other, cluster.pk)


def as_they_should_be(cluster: Cluster, account: str) -> dict[date, Sums]:
    """What the rows of each day of an account must sum to, from its records alone."""
    sums: dict[date, Sums] = defaultdict(Sums)
    records = UsageRecord.objects.filter(cluster=cluster, account=account, held_until__isnull=False)
    held = records.order_by().values_list("start", "held_until", "gpus", "shards", "provisional")
    for start, until, gpus, shards, provisional in held.iterator(chunk_size=AT_ONCE):
        for day, seconds in Holding(start, until, gpus).seconds_by_day():
            before, more = sums[day], gpus * seconds
            sums[day] = Sums(
                before.gpu_seconds + more,
                before.provisional + (more if provisional else 0),
                before.shard_seconds + shards * seconds,
            )
    return {day: one for day, one in sums.items() if one != NOTHING}


def _as_they_are(cluster: Cluster, account: str) -> dict[date, Sums]:
    theirs = {"cluster": cluster, "account": account}
    days = UsageDay.objects.filter(**theirs).order_by().values_list("day")
    found = {
        day: Sums(*sums)
        for day, *sums in days.annotate(
            Sum("gpu_seconds"), Sum("provisional_gpu_seconds"), Sum("shard_seconds")
        )
    }
    corrections = UsageCorrection.objects.filter(**theirs).order_by().values_list("day")
    for day, seconds, shards in corrections.annotate(Sum("gpu_seconds"), Sum("shard_seconds")):
        before = found.get(day, NOTHING)
        found[day] = Sums(before.gpu_seconds + seconds, before.provisional, before.shard_seconds + shards)
    return {day: sums for day, sums in found.items() if sums != NOTHING}
