"""Which records are asked for when? Windows that overlap, so that whatever came late or was corrected is found.

The poll (jobs.sync) reads what is new every few seconds. Beside it every cluster has three windows, a row each: the last
48 hours every quarter of an hour, the last 8 days daily, this month and the one before weekly and once a month is over.
What is due is found in these rows: a lost beat loses nothing, and a doubled one asks nothing twice.

A window is asked in slices, each one remote call, as long as can be held in memory at once. The watermark (the row's
`since` and `until`) moves only when the last slice was answered whole; a slice that was not is asked again at the next
ring, and those before it are not.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from accounting import months, usage
from accounting.models import Cluster, CollectionWindow, ReadMonth
from accounting.periods import month_of
from accounting.usage import Tally
from jobs import health, maintenance, probing
from jobs.attributing import attribution
from jobs.clusters import Door, Pull, connect_to
from jobs.dispatch import CLOCKS
from jobs.schedulers import AnswerError, TooMuch
from jobs.spec import ClusterError

log = logging.getLogger(__name__)

Kind = CollectionWindow.Kind

EVERY = {Kind.RECENT: timedelta(minutes=15), Kind.WEEK: timedelta(days=1), Kind.MONTHS: timedelta(days=7)}
BACK = {Kind.RECENT: timedelta(hours=48), Kind.WEEK: timedelta(days=8)}
SETTLED = timedelta(days=1)  # after a month's end: its last records have come by then
SLICE = timedelta(days=1)
SMALLEST = timedelta(minutes=15)
# Characters of one answer: some 10,000 records, which take ten times as much memory while they are recorded.
MOST = 2 << 20
FEW = 1_000  # records; after so few the next slice may be longer
LEASE = timedelta(minutes=10)  # longer than one slice may take


# ── What is due? ─────────────────────────────────────────────────────────────


def due() -> list[int]:
    """Windows (pks) that are to be read now, those of the shortest time first."""
    now = timezone.now()
    clusters = maintenance.clusters_at_work().exclude(health__try_again_at__gt=now)
    have = set(CollectionWindow.objects.values_list("cluster", "kind"))
    CollectionWindow.objects.bulk_create(
        (
            CollectionWindow(cluster=cluster, kind=kind)
            for cluster in clusters
            for kind in Kind
            if (cluster.pk, kind.value) not in have
        ),
        ignore_conflicts=True,
    )
    free = CollectionWindow.objects.filter(
        Q(lease_until=None) | Q(lease_until__lte=now), cluster__in=clusters
    )
    found = [window for window in free if is_due(window, now)]
    return [window.pk for window in sorted(found, key=lambda window: list(Kind).index(Kind(window.kind)))]


def is_due(window: CollectionWindow, now: datetime) -> bool:
    if window.under_way or window.until is None or window.until + EVERY[Kind(window.kind)] <= now:
        return True
    over = months.first_moment(month_of(now.date()))  # the month before ended then
    return window.kind == Kind.MONTHS and window.until < over + SETTLED <= now


def begins(window: CollectionWindow, now: datetime) -> datetime:
    """How far back it reaches. Months that could not be read in their time are not left out: each can be closed one day."""
    if window.kind != Kind.MONTHS:
        return now - BACK[Kind(window.kind)]
    month = month_of(now.date()).plus(-1)
    last = ReadMonth.objects.filter(cluster=window.cluster).order_by("month").last()
    return months.first_moment(min(month, month_of(last.month).plus(1)) if last else month)


# ── Reading ──────────────────────────────────────────────────────────────────


def collect(cluster_id: int, kind: str = Kind.RECENT) -> Tally | None:
    """Read a window of that kind now, whether it is due or not."""
    return collect_window(CollectionWindow.objects.get_or_create(cluster_id=cluster_id, kind=kind)[0].pk)


def collect_window(window_id: int) -> Tally | None:
    """Read a window to its end, or as far as it is answered. None: not now, or not whole."""
    window = CollectionWindow.objects.select_related("cluster").get(pk=window_id)
    if not health.may_try(window.cluster_id) or not probing.is_measured(window.cluster) or not _taken(window):
        return None
    try:
        return _read(window)
    except ClusterError as error:
        log.warning("cluster %s, %s: not read whole: %s", window.cluster.name, window.kind, error)
        if not isinstance(error, AnswerError):  # the accounting's trouble keeps no job from being sent
            health.failed(window.cluster, error)
        CollectionWindow.objects.filter(pk=window.pk).update(trouble=str(error)[:300])
        return None
    finally:
        CollectionWindow.objects.filter(pk=window.pk, lease_until=window.lease_until).update(lease_until=None)


def _taken(window: CollectionWindow) -> bool:
    """Whether this worker is the one that reads it: a guarded UPDATE of the lease."""
    now = timezone.now()
    free = CollectionWindow.objects.filter(Q(lease_until=None) | Q(lease_until__lte=now), pk=window.pk)
    if not free.update(lease_until=now + LEASE, tried_at=now):
        return False
    window.refresh_from_db()
    return True


def _read(window: CollectionWindow) -> Tally:
    _begin(window)
    tally = Tally()
    since, until = window.under_way or (timezone.now(), timezone.now())
    with connect_to(window.cluster.name) as door:
        for pull, end in _pulls(door, since, until):
            tally += _record(window.cluster, pull)
            window.found += len(pull.records.runs)
            _reached(window, end)
    _succeeded(window)
    return tally


def _begin(window: CollectionWindow) -> None:
    """Where an earlier try came to, unless that is so long ago that all of it is due again."""
    now = timezone.now()
    if window.asked_until is None or window.asked_until + EVERY[Kind(window.kind)] <= now:
        window.asked_since = window.reached = begins(window, now)
        window.asked_until, window.found = now, 0
        window.save(update_fields=["asked_since", "asked_until", "reached", "found"])


def _pulls(door: Door, since: datetime, until: datetime) -> Iterator[tuple[Pull, datetime]]:
    """What is known of each slice, and its end. Where an answer would be too long, shorter slices."""
    length = SLICE
    while since < until:
        end = min(since + length, until)
        may_be_shorter = end - since > SMALLEST
        try:
            # The shortest slice may take what it takes: it can't be left out.
            pull = door.pull(since, end + CLOCKS, most=MOST if may_be_shorter else None)
        except TooMuch:
            if not may_be_shorter:
                raise
            length = max((end - since) / 2, SMALLEST)
            continue
        yield pull, end
        since = end
        if len(pull.records.runs) <= FEW:
            length = min(length * 2, SLICE)


def _record(cluster: Cluster, pull: Pull) -> Tally:
    """Running jobs too, provisionally."""
    usage.quarantine(cluster, pull.records.rejected)
    return usage.record_runs(
        pull.records.runs,
        cluster=cluster,
        as_of=pull.asked_at,
        in_queue={entry.job_id_raw for entry in pull.queue},
        attribute=partial(attribution, cluster),
    )


def _reached(window: CollectionWindow, end: datetime) -> None:
    """Note how far it has come, and keep the lease."""
    ours = window.lease_until
    window.reached, window.lease_until = end, timezone.now() + LEASE
    CollectionWindow.objects.filter(pk=window.pk, lease_until=ours).update(
        reached=end, found=window.found, lease_until=window.lease_until
    )


@transaction.atomic
def _succeeded(window: CollectionWindow) -> None:
    since, until = window.asked_since, window.asked_until
    ours = CollectionWindow.objects.filter(pk=window.pk, asked_until=until)
    moved = ours.update(
        since=since,
        until=until,
        succeeded_at=timezone.now(),
        records=window.found,
        trouble="",
        asked_since=None,
        asked_until=None,
        reached=None,
        found=0,
    )
    if moved and since and until:
        _note_months(window.cluster, since, until)


def _note_months(cluster: Cluster, since: datetime, until: datetime) -> None:
    """Months that were over when asking began, and of which all was asked."""
    month = month_of(since.date())
    if months.first_moment(month) < since:
        month = month.plus(1)
    while months.end_of(month) + SETTLED <= until:
        ReadMonth.objects.update_or_create(cluster=cluster, month=month.first, defaults={"read_at": until})
        month = month.plus(1)
