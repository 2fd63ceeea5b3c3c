"""UsageRecords as the database has them, and as the scheduler's records say they should be: read, compared, written.

Rows are tuples here (Fact), in batches: years of history come this way, and every poll.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import NamedTuple

from django.db.models import BinaryField, Case, Exists, OuterRef, Q, Value, When
from django.utils import timezone

from accounting import bulk
from accounting.models import Cluster, UsageRecord
from accounting.runs import Anomaly, Holding, Run
from portal.models import Project

BATCH = 500  # rows per statement: below SQLite's limit of variables


class Fact(NamedTuple):
    """One UsageRecord, without its cluster and key."""

    identity: str
    job_id_raw: str
    job_id: str
    account: str
    user: str
    partition: str
    qos: str
    submit: datetime | None
    start: datetime | None
    end: datetime | None
    state: str
    exit_code: str
    time_limit_minutes: int | None
    gpus: int
    gpus_by_type: dict[str, int]
    gpu_type: str
    shards: int
    held_until: datetime | None
    gpu_seconds: int
    provisional: bool
    anomaly: str
    project_id: int | None
    person_id: int | None
    source: bytes

    @property
    def seconds_by_day(self) -> Iterator[tuple[date, int]]:
        return Holding(self.start, self.held_until, self.gpus).seconds_by_day()

    @property
    def gpus_of_each_type(self) -> Iterator[tuple[str, int]]:
        """(type, devices): the untyped rest is of the record's own type. Sums to `gpus`."""
        rest = self.gpus
        for gpu_type, gpus in self.gpus_by_type.items():
            rest -= gpus
            yield gpu_type, gpus
        if rest > 0:
            yield self.gpu_type, rest


class Stored(NamedTuple):
    pk: int
    fact: Fact


def fact_of(run: Run, held: Holding, *, gpu_type: str, project_id: int | None, person_id: int | None) -> Fact:
    """What `run` says, and what it held. `gpu_type`: of the devices whose type the record does not name."""
    return Fact(
        run.identity[1],
        run.job_id_raw,
        run.job_id,
        run.account,
        run.user,
        run.partition,
        run.qos,
        run.submit,
        run.start,
        run.end,
        run.state,
        run.exit_code,
        run.time_limit_minutes,
        run.gpus,
        dict(run.gpus_by_type),
        gpu_type,
        run.shards,
        held.end,
        held.gpu_seconds,
        held.provisional,
        held.anomaly or "",
        project_id,
        person_id,
        run.source,
    )


def stored(cluster: Cluster, identities: Sequence[str]) -> dict[str, Stored]:
    """What the database has of these records."""
    found: dict[str, Stored] = {}
    rows = UsageRecord.objects.filter(cluster=cluster).values_list("pk", *Fact._fields)
    for pk, *values in bulk.among(rows, "identity", identities):
        fact = Fact._make((*values[:-1], bytes(values[-1])))
        found[fact.identity] = Stored(pk, fact)
    return found


def sources(cluster: Cluster, identities: Sequence[str]) -> dict[str, bytes]:
    """For each of these records that is there the mark of its text; none where the same text, read now, may change it."""
    # A running one may have ended, and the account that was nobody's be a project's.
    lasting = Q(provisional=False, anomaly__in=("", Anomaly.END_BEFORE_START.value)) & ~Q(
        Exists(Project.objects.filter(account=OuterRef("account"))), project=None
    )
    mark = Case(When(lasting, then="source"), default=Value(b""), output_field=BinaryField())
    rows = UsageRecord.objects.filter(cluster=cluster).values_list("identity", mark)
    return {identity: bytes(source) for identity, source in bulk.among(rows, "identity", identities)}


def add(cluster: Cluster, facts: Iterable[Fact]) -> None:
    now = timezone.now()
    rows = ((*fact, cluster.pk, now) for fact in facts)
    bulk.insert(UsageRecord, [*Fact._fields, "cluster_id", "changed_at"], rows)


def change(changed: Mapping[int, Fact]) -> None:
    """By primary key."""
    now = timezone.now()
    rows = [UsageRecord(pk=pk, changed_at=now, **fact._asdict()) for pk, fact in changed.items()]
    UsageRecord.objects.bulk_update(
        rows, [*(name.removesuffix("_id") if name in FOREIGN else name for name in WRITTEN)], batch_size=BATCH
    )


FOREIGN = frozenset({"project_id", "person_id"})
WRITTEN = [*(name for name in Fact._fields if name != "identity"), "changed_at"]


def keys(cluster: Cluster, identities: Sequence[str]) -> dict[str, int]:
    """The primary keys of records that are there."""
    rows = UsageRecord.objects.filter(cluster=cluster).values_list("identity", "pk")
    return dict(bulk.among(rows, "identity", identities))
