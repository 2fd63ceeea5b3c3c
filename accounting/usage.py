"""Facts in, charges out: upsert UsageRecords, redo the days they touch, charge ended runs once.

`record_runs` may be given the same runs any number of times, in overlapping windows and any order of windows:
the same records are the same rows, and what did not change writes nothing.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

from django.db import transaction
from django.utils import timezone

from accounting import ledger
from accounting.models import Allocation, Cluster, Partition, QuarantinedRecord, UsageDay, UsageRecord
from accounting.runs import Holding, Run, holding
from portal.models import Project

BATCH = 500  # rows per statement: below SQLite's limit of variables


@dataclass(frozen=True)
class Attribution:
    """What only the portal knows of a run: the person behind the POSIX user, and the allocation that was held for it."""

    person_id: int | None = None
    allocation_id: int | None = None


@dataclass
class Tally:
    """What one call of record_runs did. Records, not GPU-seconds."""

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    charged: int = 0
    unassigned: int = 0
    provisional: int = 0
    anomalies: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def __iadd__(self, other: Tally) -> Tally:
        self.new += other.new
        self.changed += other.changed
        self.unchanged += other.unchanged
        self.charged += other.charged
        self.unassigned += other.unassigned
        self.provisional += other.provisional
        for name, count in other.anomalies.items():
            self.anomalies[name] += count
        return self


def nobody(run: Run) -> Attribution:
    return Attribution()


@transaction.atomic
def record_runs(
    runs: Iterable[Run],
    *,
    cluster: Cluster,
    as_of: datetime,
    in_queue: Collection[str],
    attribute: Callable[[Run], Attribution] = nobody,
) -> Tally:
    """Bring `cluster`'s usage up to what `runs` say, seen at `as_of`.

    `in_queue`: raw job ids that the live queue lists now; an open record outside of it is a runaway.
    Within `runs` a later record replaces an earlier one of the same identity (R6).
    """
    # One at a time for each cluster: a poll and a collection that meet would both add the same record.
    Cluster.objects.select_for_update(no_key=True).get(pk=cluster.pk)
    latest = {run.identity[1]: run for run in runs}
    known = _known(cluster, list(latest))
    projects = _projects({run.account for run in latest.values()})
    tally, new, changed = Tally(), [], []
    touched: set[tuple[str, date]] = set()
    for identity, run in latest.items():
        held = holding(run, as_of=as_of, in_queue=run.job_id_raw in in_queue)
        row = UsageRecord(
            cluster=cluster,
            identity=identity,
            job_id_raw=run.job_id_raw,
            job_id=run.job_id,
            account=run.account,
            user=run.user,
            partition=run.partition,
            qos=run.qos,
            submit=run.submit,
            start=run.start,
            end=run.end,
            state=run.state,
            exit_code=run.exit_code,
            time_limit_minutes=run.time_limit_minutes,
            gpus=run.gpus,
            gpus_by_type=dict(run.gpus_by_type),
            held_until=held.end,
            gpu_seconds=held.gpu_seconds,
            provisional=held.provisional,
            anomaly=held.anomaly or "",
            project=projects.get(run.account),
            person_id=attribute(run).person_id,
        )
        _count(tally, row)
        before = known.get(identity)
        if before is None:
            new.append(row)
        elif _differ(before, row):
            row.pk = before.pk
            changed.append(row)
            touched |= _days(before)
        else:
            tally.unchanged += 1
            continue
        touched |= _days(row)
    tally.new, tally.changed = len(new), len(changed)
    UsageRecord.objects.bulk_create(new, batch_size=BATCH)
    UsageRecord.objects.bulk_update(
        changed, [*(field.name for field in COMPARED), "changed_at"], batch_size=BATCH
    )
    redo_days(cluster, touched)
    tally.charged = _charge([*new, *changed], latest, cluster, attribute)
    return tally


def quarantine(cluster: Cluster, rejected: Sequence[tuple[str, str]]) -> int:
    """Keep records that could not be read, each once, with the reason. Returns how many are new."""
    rows = {
        hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest(): (text, reason)
        for text, reason in rejected
    }
    seen = QuarantinedRecord.objects.filter(cluster=cluster, fingerprint__in=rows).values_list(
        "fingerprint", flat=True
    )
    fresh = rows.keys() - set(seen)
    QuarantinedRecord.objects.bulk_create(
        QuarantinedRecord(
            cluster=cluster,
            fingerprint=fingerprint,
            text=rows[fingerprint][0]
            .encode("utf-8", "backslashreplace")
            .decode()
            .replace("\0", "\\0")[:4000],
            reason=rows[fingerprint][1][:300],
        )
        for fingerprint in sorted(fresh)
    )
    return len(fresh)


def redo_days(cluster: Cluster, touched: Iterable[tuple[str, date]]) -> None:
    """Make the UsageDay rows of each (account, UTC day) anew from the records that overlap it."""
    by_account: dict[str, set[date]] = defaultdict(set)
    for account, day in touched:
        by_account[account].add(day)
    types = dict(Partition.objects.filter(cluster=cluster).values_list("name", "gpu_type"))
    for account, days in by_account.items():
        UsageDay.objects.filter(cluster=cluster, account=account, day__in=days).delete()
        overlapping = UsageRecord.objects.filter(
            cluster=cluster,
            account=account,
            gpu_seconds__gt=0,
            start__lt=_midnight(max(days) + timedelta(days=1)),
            held_until__gt=_midnight(min(days)),
        )
        UsageDay.objects.bulk_create(_cells(overlapping.iterator(), days, types), batch_size=BATCH)


COMPARED = [
    field
    for field in UsageRecord._meta.concrete_fields
    if field.name not in ("id", "cluster", "identity", "changed_at")
]


def _known(cluster: Cluster, identities: Sequence[str]) -> dict[str, UsageRecord]:
    known: dict[str, UsageRecord] = {}
    for at in range(0, len(identities), BATCH):
        rows = UsageRecord.objects.filter(cluster=cluster, identity__in=identities[at : at + BATCH])
        known.update({row.identity: row for row in rows})
    return known


def _projects(accounts: Collection[str]) -> dict[str, Project]:
    return {project.account: project for project in Project.objects.filter(account__in=accounts)}


def _differ(before: UsageRecord, after: UsageRecord) -> bool:
    if before.person_id and not after.person_id:
        after.person_id = before.person_id  # an importer knows no people: never forget one
    return any(getattr(before, field.attname) != getattr(after, field.attname) for field in COMPARED)


def _count(tally: Tally, row: UsageRecord) -> None:
    tally.unassigned += row.project is None
    tally.provisional += row.provisional
    if row.anomaly:
        tally.anomalies[row.anomaly] += 1


def _held(row: UsageRecord) -> Holding:
    return Holding(row.start, row.held_until, row.gpus)


def _days(row: UsageRecord) -> set[tuple[str, date]]:
    return {(row.account, day) for day, _ in _held(row).by_day()}


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, tzinfo=UTC)


def _cells(records: Iterable[UsageRecord], days: Collection[date], types: dict[str, str]) -> list[UsageDay]:
    cells: dict[tuple[date, str, str, str, str], UsageDay] = {}
    for record in records:
        for gpu_type, gpus in _by_type(record, types):
            for day, gpu_seconds in Holding(record.start, record.held_until, gpus).by_day():
                if day not in days:
                    continue
                key = (day, record.user, record.partition, gpu_type, record.state)
                cell = cells.get(key)
                if cell is None:
                    cell = cells[key] = UsageDay(
                        cluster_id=record.cluster_id,
                        day=day,
                        account=record.account,
                        user=record.user,
                        partition=record.partition,
                        gpu_type=gpu_type,
                        state=record.state,
                        project_id=record.project_id,
                        person_id=record.person_id,
                        gpu_seconds=0,
                    )
                cell.gpu_seconds += gpu_seconds
                cell.provisional_gpu_seconds += gpu_seconds if record.provisional else 0
    return list(cells.values())


def _by_type(record: UsageRecord, types: dict[str, str]) -> list[tuple[str, int]]:
    """The record's devices by type; the untyped rest takes its partition's type. Sums to `gpus`."""
    typed = [(name, count) for name, count in sorted(record.gpus_by_type.items()) if count]
    rest = record.gpus - sum(count for _, count in typed)
    return [*typed, (types.get(record.partition, ""), rest)] if rest > 0 else typed


def _charge(
    rows: Sequence[UsageRecord],
    runs: dict[str, Run],
    cluster: Cluster,
    attribute: Callable[[Run], Attribution],
) -> int:
    """Charge the runs that ended to their project's allocation. Returns how many entries were written."""
    ended = [row for row in rows if row.project_id and not row.provisional]
    if not ended:
        return 0
    partitions = {p.name: p for p in Partition.objects.filter(cluster=cluster).prefetch_related("factors")}
    allocations = _allocations(cluster, {row.project_id for row in ended if row.project_id})
    entries = 0
    for row in ended:
        allocation = _payer(row, attribute(runs[row.identity]).allocation_id, allocations)
        if allocation is None or row.start is None:
            continue
        partition = partitions.get(row.partition)
        factor = partition.factor_at(row.start) if partition else Decimal(1)
        entries += ledger.charge(allocation, row, factor) is not None
    return entries


def _allocations(cluster: Cluster, project_ids: Collection[int]) -> dict[int, list[Allocation]]:
    by_project: dict[int, list[Allocation]] = defaultdict(list)
    for allocation in Allocation.objects.filter(cluster=cluster, project__in=project_ids).order_by(
        "end", "pk"
    ):
        by_project[allocation.project_id].append(allocation)
    return by_project


def _payer(
    row: UsageRecord, held_by: int | None, allocations: dict[int, list[Allocation]]
) -> Allocation | None:
    """The allocation that was held for the run; else the one in force when it started, the first to end; else the last."""
    candidates = allocations.get(row.project_id or 0, [])
    day = (row.start or timezone.now()).date()
    return (
        next((a for a in candidates if a.pk == held_by), None)
        or next((a for a in candidates if a.is_active(day)), None)
        or (candidates[-1] if candidates else None)
    )
