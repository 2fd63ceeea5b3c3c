"""What the scheduler itself lets an allocation use: the hard stop for whoever goes past the portal."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from django.db import models
from django.db.models import BigIntegerField, Case, Exists, OuterRef, Q, QuerySet, Subquery, Sum, Value, When
from django.db.models.functions import Coalesce
from django.utils.translation import gettext_lazy as _

from accounting.models.allocations import Allocation
from accounting.models.clusters import Cluster
from accounting.models.ledger import Hold, LedgerEntry
from accounting.models.usage import UsageRecord

NAMED = re.compile(r"al-([1-9][0-9]{0,17})")
SHUT = "al-0"  # the budget of an account without any hours: nothing runs on it


def budget_name(allocation_id: int) -> str:
    return f"al-{allocation_id}"


def allocation_named(budget: str) -> int | None:
    """The allocation whose budget it is; None for a name that isn't one of ours."""
    match = NAMED.fullmatch(budget)
    return int(match[1]) if match else None


class FenceQuerySet(models.QuerySet["Fence"]):
    def on(self, cluster: Cluster) -> FenceQuerySet:
        """Those in force on a cluster. A settled allocation has none any more: its hours are gone."""
        return self.filter(allocation__cluster=cluster, allocation__settled_at=None)

    def in_trouble(self) -> FenceQuerySet:
        return self.exclude(trouble="")

    def with_news(self) -> FenceQuerySet:
        """With `ran`, GPU-seconds of its recorded runs since the base was taken; `ran_before`, of those that began
        before it was quiet; and `has_news`: whether the ledger has changed since the room was reckoned. All of one
        moment."""
        return self.annotate(**_news())

    def troubled_first(self) -> FenceQuerySet:
        calm = Case(When(trouble="", then=1), default=0)
        return self.order_by(calm, "allocation__project__title", "allocation__end", "pk")


def _news() -> dict[str, Any]:
    return {
        "ran": _sum(_ran()),
        "ran_before": _sum(_ran().filter(start__lt=OuterRef("quiet_since"))),
        "has_news": Exists(_entries()) | Exists(_holds()),
    }


def _ran() -> QuerySet[UsageRecord]:
    """Nothing of it ran when the base was taken: a run began before and is in the base, or after and is not."""
    return UsageRecord.objects.filter(
        cluster=OuterRef("allocation__cluster"),
        account=OuterRef("allocation__project__account"),
        start__gte=OuterRef("based_at"),
        qos=OuterRef("qos"),
        provisional=False,
    )


def _sum(runs: QuerySet[UsageRecord]) -> Coalesce:
    sums = runs.order_by().values("qos").annotate(sum=Sum("gpu_seconds")).values("sum")
    return Coalesce(Subquery(sums), Value(0), output_field=BigIntegerField())


def _entries() -> QuerySet[LedgerEntry]:
    return LedgerEntry.objects.filter(allocation=OuterRef("allocation"), at__gte=OuterRef("reckoned_from"))


def _holds() -> QuerySet[Hold]:
    since = OuterRef("reckoned_from")
    return Hold.objects.filter(
        Q(taken_at__gte=since) | Q(released_at__gte=since), allocation=OuterRef("allocation")
    )


class Fence(models.Model):
    """An allocation's budget in the scheduler: a QOS whose limit is kept in step with the ledger.

    The scheduler counts GPU-minutes by itself and compares its count with a limit; the count can't be set. So
    limit = (base + what was recorded of it since) + room, where the base is the scheduler's count at a moment when
    nothing ran, and the room what may still run by the ledger (docs/decisions/010).
    """

    allocation = models.OneToOneField(Allocation, models.PROTECT, related_name="fence")
    qos = models.CharField(max_length=30)

    based_at = models.DateTimeField(null=True, blank=True)  # the cluster's time
    base_seconds = models.BigIntegerField(default=0)
    quiet_since = models.DateTimeField(null=True, blank=True)  # since then nothing of it runs
    room_seconds = models.BigIntegerField(default=0)  # of GPUs, whatever they cost
    is_open = models.BooleanField(default=False)  # new jobs may begin; else only those with a hold
    reckoned_from = models.DateTimeField(null=True, blank=True)  # what the ledger says since then is news

    intended_minutes = models.BigIntegerField(_("intended limit (GPU-minutes)"), default=0)
    seen_minutes = models.BigIntegerField(_("limit in the scheduler (GPU-minutes)"), null=True, blank=True)
    used_minutes = models.BigIntegerField(_("used, as the scheduler counts"), null=True, blank=True)
    seen_at = models.DateTimeField(null=True, blank=True)
    # The project's account may use it. Where the account was not made yet, there is nothing to put it on.
    is_placed = models.BooleanField(default=False)
    confirmed_at = models.DateTimeField(null=True, blank=True)  # when all of it was last seen as intended
    trouble = models.CharField(max_length=300, blank=True)

    objects = FenceQuerySet.as_manager()

    # Of `with_news`.
    ran: int
    ran_before: int
    has_news: bool

    class Meta:
        verbose_name = _("fence")
        ordering = ["allocation"]

    def __str__(self) -> str:
        return self.qos

    @property
    def is_confirmed(self) -> bool:
        """Whether the last look found it as intended."""
        return self.confirmed_at is not None and self.confirmed_at == self.seen_at

    @property
    def differs(self) -> bool:
        """Whether the scheduler's limit is another than it should be."""
        return self.seen_minutes != self.intended_minutes

    @property
    def counted_seconds(self) -> int:
        """What the scheduler must have counted of recorded runs. Of a fence `with_news`."""
        return self.base_seconds + self.ran

    def take_base(self, gpu_seconds: int, at: datetime) -> None:
        """The scheduler's times are whole seconds: what begins within this one is not in the base."""
        self.based_at, self.base_seconds = at.replace(microsecond=0), gpu_seconds
