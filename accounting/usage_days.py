"""UsageDay: the sum of the records by UTC day and all that reports ask for, kept by adding and taking away.

A record that comes adds its parts; one that changes takes its old parts away and adds its new ones, in the transaction
of the record. Days of closed months stay as they are: what would change them becomes a UsageCorrection, dated today.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import NamedTuple

from django.db.models import Q
from django.utils import timezone

from accounting import bulk, records
from accounting.models import Cluster, UsageCorrection, UsageDay
from accounting.periods import Month, month_of
from accounting.records import Fact


class Cell(NamedTuple):
    day: date
    account: str
    user: str
    partition: str
    gpu_type: str
    state: str


class Part(NamedTuple):
    """What a record holds of a cell. Shards are no devices: they have a cell of their own, with type SHARD."""

    cell: Cell
    gpu_seconds: int
    shard_seconds: int


class Sums(NamedTuple):
    """What is added to a cell (or, below zero, taken away), and whose it is."""

    gpu_seconds: int
    provisional: int
    shard_seconds: int
    project_id: int | None
    person_id: int | None

    def after(self, before: Sums) -> Sums:
        return Sums(
            before.gpu_seconds + self.gpu_seconds,
            before.provisional + self.provisional,
            before.shard_seconds + self.shard_seconds,
            self.project_id,
            self.person_id,
        )


SHARD = "shard"
SUMS = ("gpu_seconds", "provisional_gpu_seconds", "shard_seconds")
FACTS = ("project_id", "person_id")


def parts(fact: Fact) -> Iterator[Part]:
    types = [*fact.gpus_of_each_type]
    if not types and not fact.shards:
        return
    account, user, partition, state = fact.account, fact.user, fact.partition, fact.state
    for day, seconds in fact.seconds_by_day:
        for gpu_type, gpus in types:
            if gpus:
                yield Part(Cell(day, account, user, partition, gpu_type, state), gpus * seconds, 0)
        if fact.shards:
            yield Part(Cell(day, account, user, partition, SHARD, state), 0, fact.shards * seconds)


class Place(NamedTuple):
    """What a correction is about: a record's part of a day. The state it ended in is no quantity, and not told apart."""

    identity: str
    day: date
    account: str
    user: str
    partition: str
    gpu_type: str


class Difference(NamedTuple):
    gpu_seconds: int
    shard_seconds: int
    project_id: int | None
    person_id: int | None


NO_DIFFERENCE = Difference(0, 0, None, None)


class Changes:
    """What a batch of records adds to the days and takes from them. `closed`: the cluster's closed months."""

    def __init__(self, closed: frozenset[Month] = frozenset()) -> None:
        self._cells: dict[Cell, Sums] = {}
        self._closed = closed
        self._closed_until = max((month.last for month in closed), default=date.min)
        self._late: dict[Place, Difference] = {}
        self._known: set[str] = set()

    def add(self, fact: Fact) -> None:
        self._put(fact, 1)

    def take(self, fact: Fact) -> None:
        self._known.add(fact.identity)
        self._put(fact, -1)

    def _put(self, fact: Fact, sign: int) -> None:
        cells = self._cells
        for cell, gpu_seconds, shard_seconds in parts(fact):
            if cell.day <= self._closed_until and month_of(cell.day) in self._closed:
                self._put_late(fact, cell, sign * gpu_seconds, sign * shard_seconds)
                continue
            provisional = gpu_seconds if fact.provisional else 0
            before = cells.get(cell)
            sums = Sums(
                sign * gpu_seconds, sign * provisional, sign * shard_seconds, fact.project_id, fact.person_id
            )
            cells[cell] = sums if before is None else sums.after(before)

    def _put_late(self, fact: Fact, cell: Cell, gpu_seconds: int, shard_seconds: int) -> None:
        place = Place(fact.identity, cell.day, cell.account, cell.user, cell.partition, cell.gpu_type)
        before = self._late.get(place, NO_DIFFERENCE)
        self._late[place] = Difference(
            before.gpu_seconds + gpu_seconds,
            before.shard_seconds + shard_seconds,
            fact.project_id,
            fact.person_id,
        )

    def apply(self, cluster: Cluster) -> None:
        """In the transaction of the records, and after them."""
        more: dict[Cell, Sums] = {}
        less: dict[Cell, Sums] = {}
        same: dict[Cell, Sums] = {}
        for cell, sums in self._cells.items():
            # A cell of which more becomes provisional than it grows by is no row of its own: as one that shrinks, it is there.
            shrinks = min(sums[:3]) < 0 or sums.provisional > sums.gpu_seconds
            (same if not any(sums[:3]) else less if shrinks else more)[cell] = sums
        if more:
            bulk.add_up(
                UsageDay,
                ["cluster_id", *Cell._fields],
                SUMS,
                FACTS,
                ((cluster.pk, *cell, *row) for cell, row in more.items()),
            )
        for cell, sums in less.items():
            _take_away(cluster, cell, sums)
        _own(cluster, same, self._closed)
        self._correct(cluster)

    def _correct(self, cluster: Cluster) -> None:
        late = {place: change for place, change in self._late.items() if any(change[:2])}
        if not late:
            return
        keys = records.keys(cluster, [*{place.identity for place in late}])
        now, reasons = timezone.now(), UsageCorrection.Reason
        bulk.insert(
            UsageCorrection,
            ["record_id", *Place._fields[1:], *Difference._fields, "reason", "cluster_id", "dated", "at"],
            (
                (
                    keys[place.identity],
                    *place[1:],
                    *change,
                    (reasons.CHANGED if place.identity in self._known else reasons.LATE).value,
                    *(cluster.pk, now.date(), now),
                )
                for place, change in late.items()
            ),
        )


def _take_away(cluster: Cluster, cell: Cell, sums: Sums) -> None:
    """Few, and never in an import: a record that changed. A cell that nothing is left of goes."""
    row = UsageDay.objects.get(cluster=cluster, **cell._asdict())
    row.gpu_seconds += sums.gpu_seconds
    row.provisional_gpu_seconds += sums.provisional
    row.shard_seconds += sums.shard_seconds
    row.project_id, row.person_id = sums.project_id or row.project_id, sums.person_id or row.person_id
    if row.gpu_seconds or row.shard_seconds:
        row.save()
    else:
        row.delete()


def _own(cluster: Cluster, same: dict[Cell, Sums], closed: frozenset[Month]) -> None:
    """Where only the owner is new: of an account the project, of a POSIX user the person. A closed month keeps its own."""
    if not same:
        return
    final = Q(pk=None)
    for month in closed:
        final |= Q(day__range=(month.first, month.last))
    days = UsageDay.objects.filter(cluster=cluster).exclude(final)
    for account, project_id in {
        (cell.account, sums.project_id) for cell, sums in same.items() if sums.project_id
    }:
        days.filter(account=account, project=None).update(project_id=project_id)
    for user, person_id in {(cell.user, sums.person_id) for cell, sums in same.items() if sums.person_id}:
        days.filter(user=user, person=None).update(person_id=person_id)
