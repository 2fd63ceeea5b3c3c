"""Which months of a cluster are final, and may this one be?

A closed month's UsageDays never change: what becomes known later is a UsageCorrection, dated on the day on which it came
(accounting.usage_days writes both). Closing is for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta

from django.db import transaction
from django.db.models import Min, Sum
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounting.models import ClosedMonth, Cluster, Discrepancy, ReadMonth, UsageDay
from accounting.periods import Month, month_of
from portal.models import User
from portal.models.audit import record
from portal.transitions import Overtaken

# Why a month can't be closed yet, as a sentence; empty: for all that this one knows, it can.
Hindrance = Callable[[Cluster, Month], str]


class NotYet(Exception):
    """The month can't be closed; the message says why, for people."""


def closed(cluster: Cluster) -> frozenset[Month]:
    return frozenset(
        map(month_of, ClosedMonth.objects.filter(cluster=cluster).values_list("month", flat=True))
    )


def first_moment(month: Month) -> datetime:
    return datetime.combine(month.first, time.min, tzinfo=UTC)


def end_of(month: Month) -> datetime:
    """The first moment after it."""
    return first_moment(month.plus(1))


def is_over(month: Month) -> bool:
    return end_of(month) <= timezone.now()


# ── May it be closed? ────────────────────────────────────────────────────────


def is_not_over(cluster: Cluster, month: Month) -> str:
    if is_over(month):
        return ""
    return _("%(month)s is not over yet, by UTC.") % {"month": month.words}


def was_not_read(cluster: Cluster, month: Month) -> str:
    """Of a cluster that takes no jobs the portal reads nothing: who closes says that what was imported is whole."""
    if not cluster.accepts_jobs or _read_at(cluster, month):
        return ""
    return _(
        "The records of %(month)s have not been read to the end since it was over. That happens by itself, about a day after a month's last one."
    ) % {"month": month.words}


def _read_at(cluster: Cluster, month: Month) -> datetime | None:
    """When all of its records were read, if that was after its end."""
    found = ReadMonth.objects.filter(cluster=cluster, month=month.first, read_at__gte=end_of(month)).first()
    return found.read_at if found else None


def differs(cluster: Cluster, month: Month) -> str:
    days = Discrepancy.objects.open().filter(cluster=cluster, day__range=(month.first, month.last))
    count = days.order_by().values("day").distinct().count()
    if not count:
        return ""
    return ngettext(
        "On %(n)s day of %(month)s our sums differ from the scheduler's, and nobody has said why.",
        "On %(n)s days of %(month)s our sums differ from the scheduler's, and nobody has said why.",
        count,
    ) % {"n": count, "month": month.words}


# What else must be right before a month is final is one more function here.
HINDRANCES: tuple[Hindrance, ...] = (is_not_over, was_not_read, differs)


def hindrances(cluster: Cluster, month: Month) -> list[str]:
    """Sentences; none: it can be closed."""
    return [sentence for hindrance in HINDRANCES if (sentence := hindrance(cluster, month))]


# ── Closing ──────────────────────────────────────────────────────────────────


@transaction.atomic
def close(cluster: Cluster, month: Month, *, by: User | None) -> ClosedMonth:
    """Make it final. Raises NotYet, or Overtaken if it is closed already."""
    # As record_runs does: what is being recorded now is recorded before, or becomes a correction.
    Cluster.objects.select_for_update(no_key=True).get(pk=cluster.pk)
    if ClosedMonth.objects.filter(cluster=cluster, month=month.first).exists():
        raise Overtaken(_("%(month)s is closed already.") % {"month": month.words})
    why_not = hindrances(cluster, month)
    if why_not:
        raise NotYet(" ".join(why_not))
    days = UsageDay.objects.filter(cluster=cluster, day__range=(month.first, month.last))
    # What still runs held these seconds all the same; should that turn out otherwise, it is a correction.
    days.filter(provisional_gpu_seconds__gt=0).update(provisional_gpu_seconds=0)
    made = ClosedMonth.objects.create(
        cluster=cluster,
        month=month.first,
        gpu_seconds=days.aggregate(sum=Sum("gpu_seconds", default=0))["sum"],
        read_at=_read_at(cluster, month),
        closed_by=by,
    )
    record("month closed", made, by=by, cluster=cluster.name, month=str(month), gpu_seconds=made.gpu_seconds)
    return made


def close_due() -> list[ClosedMonth]:
    """Close what the clusters' policies say is to be closed by now, and can be."""
    return [
        close(cluster, month, by=None)
        for cluster, month in list(_due(timezone.now().date()))
        if not hindrances(cluster, month)
    ]


def _due(today: date) -> Iterator[tuple[Cluster, Month]]:
    for cluster in Cluster.objects.filter(policy__close_months_after_days__isnull=False).select_related(
        "policy"
    ):
        wait = timedelta(days=cluster.policy.close_months_after_days or 0)
        done = closed(cluster)
        for read in ReadMonth.objects.filter(cluster=cluster).order_by("month"):
            month = month_of(read.month)
            if month not in done and month.last + wait < today:
                yield cluster, month


def since_first_use(cluster: Cluster) -> list[Month]:
    """All months from the first with any use to this one, the newest first."""
    first = UsageDay.objects.filter(cluster=cluster).aggregate(first=Min("day"))["first"]
    month, months = month_of(timezone.now().date()), []
    while first and month.last >= first:
        months.append(month)
        month = month.plus(-1)
    return months
