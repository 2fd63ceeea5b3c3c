"""The facts, row by row, for scripts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Literal

from django.db.models import (
    F,
    Max,
    Sum,
)

from accounting.models import UsageDay

Grouping = Literal["day", "account", "institution"]
GROUPS: dict[Grouping, tuple[str, ...]] = {
    "day": ("cluster__name", "account", "day"),
    "account": ("cluster__name", "account"),
    "institution": ("project__lab__institution__name", "project__lab__institution__account"),
}


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


def usage(by: Grouping, *, first: date | None = None, last: date | None = None) -> Iterator[UsageRow]:
    """Streams; both days are included."""
    days = UsageDay.objects.all()
    if first:
        days = days.filter(day__gte=first)
    if last:
        days = days.filter(day__lte=last)
    groups = GROUPS[by]
    rows = days.values(*groups).order_by(*(F(name).asc(nulls_last=True) for name in groups))
    summed = rows.annotate(
        sum=Sum("gpu_seconds"),
        provisional=Sum("provisional_gpu_seconds"),
        owner=Max("project__lab__institution__name"),
        owner_account=Max("project__lab__institution__account"),
        owned_by=Max("project__slug"),
    )
    for row in summed.iterator():
        yield UsageRow(
            cluster=row.get("cluster__name"),
            account=row.get("account"),
            day=row.get("day"),
            institution=row["owner"],
            institution_account=row["owner_account"],
            project=row["owned_by"] if by != "institution" else None,
            gpu_seconds=row["sum"],
            provisional_gpu_seconds=row["provisional"],
        )
