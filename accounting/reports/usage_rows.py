"""The facts, row by row, for scripts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from itertools import groupby
from typing import Any, Literal

from django.db.models import F, QuerySet, Sum, Value

from accounting.models import UsageCorrection, UsageDay
from accounting.weights import Weights, weights

Grouping = Literal["day", "account", "institution"]
OWNER = ("project__lab__institution__name", "project__lab__institution__account")
GROUPS: dict[Grouping, tuple[str, ...]] = {
    "day": ("cluster__name", "account", "day"),
    "account": ("cluster__name", "account"),
    "institution": OWNER,
}
WEIGHED_BY = ("cluster__name", "day", "gpu_type")  # the same weight holds for all of such a group


@dataclass(frozen=True)
class UsageRow:
    """GPU-seconds of one group; None where the grouping sums over it. No institution: no project owns the account."""

    cluster: str | None
    account: str | None
    day: date | None
    institution: str | None
    institution_account: str | None
    project: str | None
    gpu_seconds: int
    provisional_gpu_seconds: int
    weighted_gpu_seconds: int  # rounded half even from the exact sum


def usage(by: Grouping, *, first: date | None = None, last: date | None = None) -> Iterator[UsageRow]:
    """Facts by the day on which they happened, whenever they became known. Streams; both days are included."""
    groups = GROUPS[by]
    inner = [*dict.fromkeys((*OWNER, "project__slug", *WEIGHED_BY))]
    order = [*groups, *(name for name in inner if name not in groups)]
    days, late = (_summed(model, order, first, last) for model in (UsageDay, UsageCorrection))
    by_group = [F(name).asc(nulls_last=True) for name in order]
    summed = days.union(late, all=True).order_by(*by_group).iterator()
    known = weights()
    for _group, rows in groupby(summed, key=lambda row: [row[name] for name in groups]):
        row = _row([*rows], by, known)
        if row.gpu_seconds or row.weighted_gpu_seconds:  # not where shards weigh nothing
            yield row


def _summed(
    model: type[UsageDay] | type[UsageCorrection], order: list[str], first: date | None, last: date | None
) -> QuerySet[Any, dict[str, Any]]:
    rows: QuerySet[Any] = model._default_manager.all()
    if first:
        rows = rows.filter(day__gte=first)
    if last:
        rows = rows.filter(day__lte=last)
    provisional = Sum("provisional_gpu_seconds") if model is UsageDay else Sum(Value(0))
    summed: QuerySet[Any, dict[str, Any]] = rows.values(*order).order_by()
    sums: QuerySet[Any, dict[str, Any]] = summed.annotate(
        sum=Sum("gpu_seconds"), provisional=provisional, shards=Sum("shard_seconds")
    )
    return sums


def _row(rows: list[dict[str, Any]], by: Grouping, known: dict[str, Weights]) -> UsageRow:
    weighted = sum(
        (
            known[row["cluster__name"]].weighted(row["gpu_type"], row["day"], row["sum"], row["shards"])
            for row in rows
        ),
        Fraction(),
    )
    owned = next((row for row in rows if row["project__slug"]), rows[0])
    one, grouped = rows[0], GROUPS[by]
    return UsageRow(
        cluster=one["cluster__name"] if "cluster__name" in grouped else None,
        account=one["account"] if "account" in grouped else None,
        day=one["day"] if "day" in grouped else None,
        institution=owned[OWNER[0]],
        institution_account=owned[OWNER[1]],
        project=owned["project__slug"] if by != "institution" else None,
        gpu_seconds=sum(row["sum"] for row in rows),
        provisional_gpu_seconds=sum(row["provisional"] for row in rows),
        weighted_gpu_seconds=round(weighted),
    )
