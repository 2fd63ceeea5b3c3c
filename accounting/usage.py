"""Facts in, charges out: upsert UsageRecords, keep the days they touch, charge ended runs once.

`record_runs` may be given the same runs any number of times, in overlapping windows and any order of windows:
the same records are the same rows, and what did not change writes nothing.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from django.db import transaction
from django.db.models import F
from django.urls import reverse

from accounting import charging, months, records, usage_days
from accounting.models import Cluster, Partition, QuarantinedRecord
from accounting.records import Fact
from accounting.runs import Run, holding
from portal.emails import people_with, post
from portal.models import Project, Role


class Attribution(NamedTuple):
    """What only the portal knows of a run: the person behind the POSIX user, and the allocation that was held for it."""

    person_id: int | None = None
    allocation_id: int | None = None


Attribute = Callable[[Collection[Run]], Callable[[Run], Attribution]]


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


def nobodys(runs: Collection[Run]) -> Callable[[Run], Attribution]:
    return lambda run: Attribution()


@transaction.atomic
def record_runs(
    runs: Iterable[Run],
    *,
    cluster: Cluster,
    as_of: datetime,
    in_queue: Collection[str],
    attribute: Attribute = nobodys,
) -> Tally:
    """Bring `cluster`'s usage up to what `runs` say, seen at `as_of`.

    `in_queue`: raw job ids that the live queue lists now; an open record outside of it is a runaway.
    `attribute` is called once, with those runs that may be news, and what it returns for each of them.
    Within `runs` a later record replaces an earlier one of the same identity (R6). One that was recorded from the
    very same text is not even compared: an import that was interrupted goes on when it is started again.
    """
    # One at a time for each cluster: a poll and a collection that meet would both add the same record.
    Cluster.objects.select_for_update(no_key=True).get(pk=cluster.pk)
    latest = {run.identity[1]: run for run in runs}
    sources = records.sources(cluster, list(latest))
    same = [identity for identity, source in sources.items() if source and source == latest[identity].source]
    for identity in same:
        del latest[identity]
    known = records.stored(cluster, [*(sources.keys() & latest.keys())])
    tally, days = Tally(unchanged=len(same)), usage_days.Changes(months.closed(cluster))
    attribution = attribute(latest.values())
    fact_of = _facts(latest.values(), cluster, as_of, in_queue, attribution)
    new: list[Fact] = []
    changed: dict[int, Fact] = {}
    for identity, before in known.items():
        fact = fact_of(latest[identity])
        _count(tally, fact)
        now = _keeping(before.fact, fact)
        if now == before.fact:
            tally.unchanged += 1
            continue
        days.take(before.fact)
        days.add(now)
        changed[before.pk] = now

    def made(run: Run) -> Fact:
        fact = fact_of(run)
        _count(tally, fact)
        days.add(fact)
        new.append(fact)
        return fact

    if unknown := [run for identity, run in latest.items() if identity not in known]:
        records.add(cluster, map(made, unknown))  # each is made while the database takes in those before
    records.change(changed)
    days.apply(cluster)
    if new or changed:
        Cluster.objects.filter(pk=cluster.pk).update(usage_version=F("usage_version") + 1)
    tally.new, tally.changed = len(new), len(changed)
    tally.charged = charging.charge(
        cluster, new, changed, held_by=lambda identity: attribution(latest[identity]).allocation_id
    )
    return tally


@transaction.atomic
def quarantine(cluster: Cluster, rejected: Sequence[tuple[str, str]], *, alarm: bool = True) -> int:
    """Keep records that could not be read, each once, with the reason. Returns how many are new.

    `alarm`: mail to the staff if there are any, one for all of them. Not where somebody is told at once, as in an import.
    """
    if not rejected:
        return 0
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
    if fresh and alarm:
        _tell_staff(cluster, len(fresh), min(fresh))
    return len(fresh)


def _tell_staff(cluster: Cluster, count: int, first: str) -> None:
    for staff in people_with(Role.STAFF):
        post(
            "quarantined",
            to=staff,
            key=f"quarantined {cluster.pk} {first}",
            path=reverse("accounting:quarantine"),
            cluster=cluster.title,
            count=count,
        )


def _facts(
    runs: Collection[Run],
    cluster: Cluster,
    as_of: datetime,
    in_queue: Collection[str],
    attribution: Callable[[Run], Attribution],
) -> Callable[[Run], Fact]:
    """What each of `runs` says, and whose it is. Asks the database now, and no more later."""
    accounts = {run.account for run in runs}
    projects = dict(Project.objects.filter(account__in=accounts).values_list("account", "pk"))
    types = dict(Partition.objects.filter(cluster=cluster).values_list("name", "gpu_type"))

    def fact_of(run: Run) -> Fact:
        return records.fact_of(
            run,
            holding(run, as_of=as_of, in_queue=run.job_id_raw in in_queue),
            gpu_type=types.get(run.partition, ""),
            project_id=projects.get(run.account),
            person_id=attribution(run).person_id,
        )

    return fact_of


def _keeping(before: Fact, after: Fact) -> Fact:
    """An importer knows no people: who was known is never forgotten. Where a record was read from is no news."""
    if before.person_id and not after.person_id:
        after = after._replace(person_id=before.person_id)
    return before if after._replace(source=before.source) == before and not after.source else after


def _count(tally: Tally, fact: Fact) -> None:
    tally.unassigned += fact.project_id is None
    tally.provisional += fact.provisional
    if fact.anomaly:
        tally.anomalies[fact.anomaly] += 1
