"""Every night our sums are held against the scheduler's own books, by account and UTC day. To the second.

    ours     what our records held within the day: of each account's own jobs, running ones included
    theirs   what the scheduler adds up for the same hours (`books.Books`, which `jobs.reconciling` asks for)

Both end where the scheduler's roll-up has come: what it has not added up is compared another night. A difference
whose cause can be shown from the figures is explained: hours of its zone that begin between ours, a job that lost its
end, a reservation that was not used. Any other is open, until it is gone or staff explain it. Books that could not
be read are neither equal nor zero: the day says so, and what was known of it stays.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

from django.db import transaction
from django.db.models import Q, Sum
from django.urls import reverse
from django.utils import timezone

from accounting.books import Books
from accounting.models import (
    Cluster,
    Collection,
    Discrepancy,
    Reconciliation,
    UsageCorrection,
    UsageDay,
    UsageRecord,
)
from accounting.runs import Anomaly
from portal.emails import people_with, post
from portal.models import Role
from portal.transitions import move

A_DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
NIGHTLY = 8  # days: as far back as records are collected anew
LOST_THEIR_END = (Anomaly.RUNAWAY, Anomaly.NO_END)

State, Cause = Discrepancy.State, Discrepancy.Cause
Sums = Mapping[str, int]  # GPU-seconds by account; accounts with none are not in it


class Difference(NamedTuple):
    """Of one account. `cause`: "" where none was found."""

    ours: int
    theirs: int
    cause: str = ""

    @property
    def excess(self) -> int:
        return self.theirs - self.ours


# ── Which days ───────────────────────────────────────────────────────────────


def last_days(today: date) -> list[date]:
    """Those that are over, oldest first."""
    return [today - A_DAY * back for back in range(NIGHTLY, 0, -1)]


def month_before(today: date) -> list[date]:
    """All days of the last month that is over."""
    return days_of((today.replace(day=1) - A_DAY).replace(day=1))


def days_of(month: date) -> list[date]:
    """`month`: its first day."""
    days = [month + A_DAY * passed for passed in range(31)]
    return [day for day in days if day.month == month.month]


def midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, tzinfo=UTC)


# ── Comparing ────────────────────────────────────────────────────────────────


def compare(cluster: Cluster, day: date, books: Books) -> Reconciliation:
    """Hold a day against the scheduler's books and keep what came of it."""
    begin, until = midnight(day), books.until
    read = Collection.objects.filter(cluster=cluster).first()
    if read is None or read.complete_until < until:
        return unread(cluster, day, "The portal itself has not read the accounting up to there.")
    ours, theirs = held(cluster, begin, until), dict(books.by_account)
    differing = {
        account: Difference(ours.get(account, 0), theirs.get(account, 0))
        for account in ours.keys() | theirs.keys()
        if ours.get(account, 0) != theirs.get(account, 0)
    }
    zone = _zone_minutes(cluster, begin, until, theirs) if differing else None
    return _keep(
        cluster,
        day,
        _explained(cluster, begin, books, differing, zone),
        ours=sum(ours.values()),
        theirs=sum(theirs.values()),
        until=until,
        zone_minutes=zone,
        trouble="",
    )


def unread(cluster: Cluster, day: date, trouble: str) -> Reconciliation:
    """The day could not be compared; its discrepancies stay as they are."""
    nothing = {"ours": None, "theirs": None, "until": None, "zone_minutes": None}
    return _note(cluster, day, trouble=trouble[:300], **nothing)


def held(cluster: Cluster, begin: datetime, until: datetime) -> Sums:
    """GPU-seconds of each account in [begin, until). A run that goes on held its GPUs to the end of it."""
    last_seen_before = UsageRecord.objects.filter(
        cluster=cluster, provisional=True, start__lt=until, held_until__lt=until
    )
    if begin == midnight(begin.date()) and until == begin + A_DAY and not last_seen_before.exists():
        sums: Counter[str] = Counter()
        for model in (UsageDay, UsageCorrection):  # of a closed month, what came late is beside its days
            rows = model.objects.filter(cluster=cluster, day=begin.date()).order_by().values("account")
            sums.update(dict(rows.annotate(sum=Sum("gpu_seconds")).values_list("account", "sum")))
        return {account: seconds for account, seconds in sums.items() if seconds}
    return _within(_holdings(cluster, begin, until), begin, until)


class _Holding(NamedTuple):
    account: str
    gpus: int
    start: datetime
    end: datetime | None  # None: it goes on


def _holdings(cluster: Cluster, begin: datetime, until: datetime) -> list[_Holding]:
    """What held GPUs at any moment of [begin, until)."""
    rows = UsageRecord.objects.filter(
        Q(held_until__gt=begin) | Q(provisional=True), cluster=cluster, start__lt=until, gpus__gt=0
    ).exclude(held_until=None)
    fields = rows.order_by().values_list("account", "gpus", "start", "held_until", "provisional")
    return [
        _Holding(account, gpus, start, None if provisional else end)
        for account, gpus, start, end, provisional in fields
        if start
    ]


def _within(holdings: Iterable[_Holding], begin: datetime, until: datetime) -> Sums:
    sums: Counter[str] = Counter()
    for one in holdings:
        seconds = (min(one.end or until, until) - max(one.start, begin)).total_seconds()
        if seconds > 0:
            sums[one.account] += one.gpus * int(seconds)
    return sums


# ── Causes ───────────────────────────────────────────────────────────────────


def _zone_minutes(cluster: Cluster, begin: datetime, until: datetime, theirs: Sums) -> int | None:
    """By how many minutes the scheduler's hours begin earlier than ours, if just one figure makes every account equal.

    Where its zone is not off by whole hours, it rounds the hours that it is asked for down to its own.

    Where several do, there was little at the day's edges, and a lost job could look like a zone: then only the figure
    that another day has shown.
    """
    holdings = _holdings(cluster, begin - HOUR, until)
    earlier = {minutes: timedelta(minutes=minutes) for minutes in range(1, 60)}
    fitting = [
        minutes for minutes, by in earlier.items() if _within(holdings, begin - by, until - by) == theirs
    ]
    if len(fitting) == 1:
        return fitting[0]
    shown = Reconciliation.objects.filter(cluster=cluster, zone_minutes__in=fitting).exclude(day=begin.date())
    return shown.values_list("zone_minutes", flat=True).first()


def _explained(
    cluster: Cluster, begin: datetime, books: Books, differing: Mapping[str, Difference], zone: int | None
) -> dict[str, Difference]:
    if zone is not None:
        return {account: one._replace(cause=Cause.ZONE) for account, one in differing.items()}
    runaways = _runaways(cluster, begin, books.until, differing)
    told: dict[str, Difference] = {}
    idle = books.idle
    for account, one in sorted(differing.items(), key=lambda pair: pair[1].excess):
        if one.excess > 0 and one.excess == runaways.get(account):
            one = one._replace(cause=Cause.RUNAWAY)
        elif 0 < one.excess <= idle:
            idle -= one.excess
            one = one._replace(cause=Cause.RESERVATION)
        told[account] = one
    return told


def _runaways(cluster: Cluster, begin: datetime, until: datetime, accounts: Iterable[str]) -> Sums:
    """What the scheduler counts for records that lost their end, and we don't: up to where it has come."""
    lost = UsageRecord.objects.filter(
        cluster=cluster, account__in=list(accounts), anomaly__in=LOST_THEIR_END, start__lt=until
    )
    rows = lost.values_list("account", "gpus", "start")
    goes_on = [_Holding(account, gpus, start, None) for account, gpus, start in rows if start]
    return _within(goes_on, begin, until)


@transaction.atomic
def even_out(cluster: Cluster, days: Sequence[date]) -> None:
    """Where an account differs on several days and its sums over all of them agree, hours were put on other days."""
    by_account: dict[str, list[Discrepancy]] = defaultdict(list)
    for one in Discrepancy.objects.open().filter(cluster=cluster, day__in=days):
        by_account[one.account].append(one)
    for several in by_account.values():
        if sum(one.difference for one in several) == 0:
            for one in several:
                move(one, State.EXPLAINED, cause=Cause.ZONE)


# ── Keeping ──────────────────────────────────────────────────────────────────


@transaction.atomic
def _keep(
    cluster: Cluster, day: date, differing: Mapping[str, Difference], *, until: datetime, **figures: object
) -> Reconciliation:
    known = {one.account: one for one in Discrepancy.objects.filter(cluster=cluster, day=day)}
    for account, difference in differing.items():
        _keep_one(known.get(account), cluster, day, account, difference)
    agreeing = known.keys() - differing.keys() if until == midnight(day + A_DAY) else ()
    for account in agreeing:
        if known[account].state != State.GONE:
            move(known[account], State.GONE)
    return _note(cluster, day, until=until, **figures)


def _keep_one(before: Discrepancy | None, cluster: Cluster, day: date, account: str, now: Difference) -> None:
    """Staff's explanation holds as long as the figures that it explains."""
    state = State.EXPLAINED if now.cause else State.OPEN
    figures = {"ours": now.ours, "theirs": now.theirs, "cause": now.cause}
    if before is None:
        Discrepancy.objects.create(cluster=cluster, day=day, account=account, state=state, **figures)
        return
    same = (before.ours, before.theirs) == (now.ours, now.theirs)
    if same and before.state != State.GONE and before.cause in (now.cause, Cause.BY_HAND, Cause.ZONE):
        return
    figures |= {"explanation": "", "explained_by": None}
    if before.state != state:
        opened = {"opened_at": timezone.now()} if state == State.OPEN else {}
        move(before, state, **figures, **opened)
    else:
        Discrepancy.objects.filter(pk=before.pk).update(**figures)


def _note(cluster: Cluster, day: date, **figures: object) -> Reconciliation:
    row, _new = Reconciliation.objects.update_or_create(
        cluster=cluster, day=day, defaults={"checked_at": timezone.now(), **figures}
    )
    return row


# ── Telling ──────────────────────────────────────────────────────────────────


@transaction.atomic
def tell_staff(cluster: Cluster, since: datetime) -> int:
    """One mail to each of the staff about discrepancies that were opened since then. Returns how many there are."""
    opened = Discrepancy.objects.open().filter(cluster=cluster, opened_at__gte=since)
    count = opened.count()
    if not count:
        return 0
    path = f"{reverse('accounting:discrepancies')}?cluster={cluster.name}"
    for person in people_with(Role.STAFF):
        key = f"discrepancies of {cluster.pk} since {since.isoformat()}"
        post("discrepancies", to=person, key=key, path=path, cluster=cluster.title, count=count)
    return count
