"""What became known of closed months afterwards? Entered on days of open months, so that a closed one never changes."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction

from django.db.models import QuerySet, Sum

from accounting.models import UsageCorrection
from accounting.periods import Month, Period, month_of
from accounting.reports.programmes import FEW, Kind, Scope, corrections
from accounting.weights import weights


@dataclass(frozen=True)
class CorrectionRow:
    """What was entered in one month about another, of one institution; `few`: of those of fewer than three people."""

    dated: Month
    month: Month  # which it concerns
    kind: Kind
    name: str  # the institution's, or the account's that no project owns; empty for the merged row
    gpu_seconds: int  # below zero: less was used than the closed month says
    weighted_gpu_seconds: int  # rounded half even from the exact sum


@dataclass(frozen=True)
class Corrections:
    """Those dated in the period, the latest first."""

    period: Period
    rows: tuple[CorrectionRow, ...]
    as_of: datetime

    @property
    def gpu_seconds(self) -> int:
        return sum(row.gpu_seconds for row in self.rows)


@dataclass
class _Sum:
    gpu_seconds: int = 0
    weighted: Fraction = field(default_factory=Fraction)
    people: set[object] = field(default_factory=set)

    def add(self, other: _Sum) -> None:
        self.gpu_seconds += other.gpu_seconds
        self.weighted += other.weighted
        self.people |= other.people


FIELDS = (
    *("dated", "day", "cluster__name", "gpu_type", "account", "user", "person"),
    "project__lab__institution__name",
)


def corrections_in(scope: Scope, period: Period, *, as_of: datetime) -> Corrections:
    """Three queries. Where the scope is a funder's, what fewer than three people are behind is merged, of each two months."""
    known = weights()
    found: dict[tuple[Month, Month, Kind, str], _Sum] = defaultdict(_Sum)
    rows = corrections(scope, period).order_by().values(*FIELDS)
    for row in rows.annotate(sum=Sum("gpu_seconds"), shards=Sum("shard_seconds")).iterator():
        institution = row["project__lab__institution__name"]
        kind: Kind = "unassigned" if institution is None else "institution"
        name = row["account"] if institution is None else institution
        weighted = known[row["cluster__name"]].weighted(
            row["gpu_type"], row["day"], row["sum"], row["shards"]
        )
        who = row["person"] or row["user"]
        found[month_of(row["dated"]), month_of(row["day"]), kind, name].add(_Sum(row["sum"], weighted, {who}))
    if not scope.is_everything:
        found = _merged(found)
    made = (CorrectionRow(*key, one.gpu_seconds, round(one.weighted)) for key, one in found.items())
    ordered = sorted(made, key=lambda row: (-_number(row.dated), -_number(row.month), row.kind, row.name))
    return Corrections(period, tuple(ordered), as_of)


def _merged(
    found: dict[tuple[Month, Month, Kind, str], _Sum],
) -> dict[tuple[Month, Month, Kind, str], _Sum]:
    merged: dict[tuple[Month, Month, Kind, str], _Sum] = defaultdict(_Sum)
    for (dated, month, kind, name), one in found.items():
        key = (dated, month, kind, name) if len(one.people) >= FEW else (dated, month, _FEW, "")
        merged[key].add(one)
    return merged


_FEW: Kind = "few"


def _number(month: Month) -> int:
    return month.year * 12 + month.month


def each(scope: Scope, period: Period) -> QuerySet[UsageCorrection]:
    """One by one, with the record: for the centre only."""
    return corrections(scope, period).select_related("cluster", "project", "record").order_by("-dated", "-pk")
