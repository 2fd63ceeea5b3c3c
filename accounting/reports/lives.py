"""What has become of an allocation, as a story, and what is to come?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from django.db.models import (
    BigIntegerField,
    Count,
    FilteredRelation,
    Max,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Sum,
)
from django.db.models.functions import Coalesce, TruncMonth
from django.utils import formats
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounting.ledger import Allowance
from accounting.lifetimes import CHECKPOINT, awaited, checkpoint_of
from accounting.models import Allocation, Hold, LedgerEntry, PersonCap, Policy, Tranche
from accounting.reports.balances import AllocationStanding
from accounting.reports.kept import kept
from accounting.units import hours
from portal.models import AuditEvent
from portal.words import day, figure, grouped

Kind = LedgerEntry.Kind


@dataclass(frozen=True)
class Line:
    """One thing that happened. `words`: what somebody wrote about it."""

    at: datetime
    sentence: str
    icon: str
    words: str = ""


def entries(allocation: Allocation) -> list[LedgerEntry]:
    """All but those of runs; a departure knows the `arrival` that cites it. One query."""
    return list(
        allocation.entries.filter(usage_record=None)
        .annotate(arrival=FilteredRelation("cited_by", condition=Q(cited_by__kind=Kind.TRANSFER)))
        .select_related(  # type: ignore[misc]  # knows no annotations
            "actor",
            "review__request",
            "tranche",
            "cites__allocation__project",
            "arrival__allocation__project",
        )
    )


def story(standing: AllocationStanding, entries: Iterable[LedgerEntry]) -> list[Line]:
    """Grants, moves, expiry and deeds one by one, runs by the month; the newest first. At most two queries."""
    allocation = standing.allocation
    months = _months(allocation, standing.balance.runs)
    lines = [*map(_line, entries), *map(_month, months), *_deeds(allocation)]
    return sorted(lines, key=lambda line: line.at, reverse=True)


# ── What the ledger says ─────────────────────────────────────────────────────


def _line(entry: LedgerEntry) -> Line:
    amount = figure(hours(abs(entry.gpu_seconds)))
    match entry.kind:
        case Kind.GRANT:
            later = entry.tranche and not entry.actor
            comment = entry.review.comment if entry.review and not later else ""
            return Line(entry.at, _granted(entry, amount), "gift", comment)
        case Kind.EXPIRY:
            return Line(entry.at, _expired(entry, amount), "hourglass-empty")
        case Kind.TRANSFER:
            return Line(entry.at, _moved(entry, amount), "arrows-exchange")
        case _by_hand:
            return Line(entry.at, _corrected(entry, amount), "pencil", entry.reason)


def _granted(entry: LedgerEntry, amount: str) -> str:
    words = {"who": entry.actor, "hours": amount}
    if entry.tranche and entry.actor and entry.review:
        words["awarded"] = figure(hours(entry.review.gpu_seconds_awarded))
        return _("%(who)s awarded %(awarded)s GPU-hours; %(hours)s of them came at once.") % words
    if entry.tranche:
        return _("%(hours)s GPU-hours of the award came free, as agreed.") % words
    if entry.actor is None:
        return _("%(hours)s GPU-hours were granted at once, by the cluster's policy.") % words
    asked = entry.review.request.gpu_seconds_asked if entry.review else entry.gpu_seconds
    if asked > entry.gpu_seconds:
        words["asked"] = figure(hours(asked))
        return _("%(who)s granted %(hours)s GPU-hours of the %(asked)s asked.") % words
    return _("%(who)s granted %(hours)s GPU-hours.") % words


def _expired(entry: LedgerEntry, amount: str) -> str:
    if entry.reason == CHECKPOINT:
        return _("%(hours)s GPU-hours expired: they were not used by the checkpoint.") % {"hours": amount}
    return _("%(hours)s GPU-hours left expired.") % {"hours": amount}


def _moved(entry: LedgerEntry, amount: str) -> str:
    arrival = entry.cites is not None
    other = (entry.cites or entry.arrival).allocation  # type: ignore[attr-defined]  # annotated in `entries`
    words = {"hours": amount, "project": other.project.title, "day": day(other.end)}
    if other.project_id != entry.allocation.project_id:
        if arrival:
            return _("%(hours)s GPU-hours came from the project “%(project)s”.") % words
        return _("%(hours)s GPU-hours went to the project “%(project)s”.") % words
    if arrival:
        return _("%(hours)s GPU-hours were carried over from the allocation that ended on %(day)s.") % words
    return _("%(hours)s GPU-hours were carried over to the renewal until %(day)s.") % words


def _corrected(entry: LedgerEntry, amount: str) -> str:
    words = {"who": entry.actor or _("The portal"), "hours": amount}
    if entry.gpu_seconds > 0:
        return _("%(who)s added %(hours)s GPU-hours by hand.") % words
    return _("%(who)s took off %(hours)s GPU-hours by hand.") % words


@kept
def _months(allocation: Allocation, runs: int) -> Sequence[Any]:
    """What runs used by month, and until when. `runs` is the mark."""
    ended = Coalesce("usage_record__held_until", "at")
    return list(
        allocation.entries.filter(usage_record__isnull=False)
        .order_by()
        .values(month=TruncMonth(ended))
        .annotate(used=Sum("gpu_seconds"), runs=Count("usage_record", distinct=True), last=Max(ended))
    )


def _month(row: Any) -> Line:
    words = {
        "month": formats.date_format(row["month"], "YEAR_MONTH_FORMAT"),
        "hours": figure(hours(-row["used"])),
        "n": grouped(row["runs"]),
    }
    sentence = ngettext(
        "%(hours)s GPU-hours were used by %(n)s run in %(month)s.",
        "%(hours)s GPU-hours were used by %(n)s runs in %(month)s.",
        row["runs"],
    )
    return Line(row["last"], sentence % words, "cpu")


# ── What people did ──────────────────────────────────────────────────────────

DEEDS = (
    "allocation extended",
    "allocation suspended",
    "allocation resumed",
    "allocation settled",
    "checkpoint held",
    "cap set",
    "progress report written",
)
EXPIRING = ("allocation settled", "checkpoint held")  # with an amount, its entry tells it


def _deeds(allocation: Allocation) -> Iterator[Line]:
    events = AuditEvent.objects.about(allocation).filter(action__in=DEEDS).select_related("actor")
    for event in events:
        if event.action not in EXPIRING or not event.detail["gpu_seconds"]:
            yield _deed(event)


def _deed(event: AuditEvent) -> Line:
    detail, who = event.detail, event.actor or _("The portal")
    match event.action:
        case "allocation extended":
            words = {"who": who, "day": day(date.fromisoformat(detail["end"]))}
            return Line(event.at, _("%(who)s extended it until %(day)s.") % words, "calendar-plus")
        case "allocation suspended":
            sentence = _("%(who)s suspended it.") % {"who": who}
            return Line(event.at, sentence, "player-pause", detail["reason"])
        case "allocation resumed":
            return Line(event.at, _("%(who)s resumed it.") % {"who": who}, "player-play")
        case "allocation settled":
            return Line(event.at, _("It ended, and nothing was left to expire."), "flag")
        case "checkpoint held":
            return Line(event.at, _("Enough was used by the checkpoint."), "calendar-check")
        case "cap set":
            return Line(event.at, _cap(str(who), detail), "user-cog")
        case _report:
            sentence = _("%(who)s wrote the progress report.") % {"who": who}
            return Line(event.at, sentence, "file-text")


def _cap(who: str, detail: dict[str, object]) -> str:
    gpu_seconds = detail["gpu_seconds"]
    words = {"who": who, "person": detail["name"]}
    if not isinstance(gpu_seconds, int):
        return _("%(who)s took away the cap of %(person)s.") % words
    words["hours"] = figure(hours(gpu_seconds))
    return _("%(who)s lets %(person)s use at most %(hours)s GPU-hours.") % words


# ── What is to come, and under which terms ───────────────────────────────────


def to_come(allocation: Allocation) -> list[Tranche]:
    """Tranches whose day is still to come, and comes while the hours can be used."""
    if allocation.settled_at is not None:
        return []
    return list(awaited(allocation).filter(available_from__lte=allocation.usable_until))


def conditions(allocation: Allocation, entries: Iterable[LedgerEntry]) -> list[str]:
    """Those of its award and of its supplements."""
    reviews = {entry.review.pk: entry.review for entry in entries if entry.review}
    if allocation.review:
        reviews[allocation.review.pk] = allocation.review
    return [review.conditions for _pk, review in sorted(reviews.items()) if review.conditions]


def allowances(allocation: Allocation) -> list[tuple[PersonCap, Allowance]]:
    """Each cap with what its person used and holds: one query."""
    used = LedgerEntry.objects.filter(
        allocation=OuterRef("allocation"), usage_record__person=OuterRef("user")
    )
    held = Hold.objects.open().filter(allocation=OuterRef("allocation"), person=OuterRef("user"))
    caps = allocation.caps.select_related("user").annotate(used=_sum(used), held=_sum(held))
    return [(cap, Allowance(cap.gpu_seconds, -cap.used, cap.held)) for cap in caps]


def _sum(rows: QuerySet[Any]) -> Coalesce:
    sums = rows.order_by().values("allocation").annotate(sum=Sum("gpu_seconds")).values("sum")
    return Coalesce(Subquery(sums), 0, output_field=BigIntegerField())


def checkpoint(allocation: Allocation, policy: Policy) -> date | None:
    """The day of the next look at what was used; None when there is none any more."""
    return None if allocation.checked_at or allocation.settled_at else checkpoint_of(allocation, policy)
