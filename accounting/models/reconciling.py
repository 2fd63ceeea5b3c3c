"""Our sums held against the scheduler's own: what was compared, and what differed and why."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

from django.db import models
from django.db.models import Count, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounting.models.clusters import Cluster
from portal.models import User
from portal.models.moves import Moving


class Outcome(models.TextChoices):
    """What came of a day's comparison. A day that could not be read is neither equal nor zero."""

    AGREES = "agrees", _("agrees")
    EXPLAINED = "explained", _("differs, explained")
    DIFFERS = "differs", _("differs")
    BEHIND = "behind", _("not added up yet")
    UNREAD = "unread", _("could not be compared")


class ReconciliationQuerySet(models.QuerySet["Reconciliation"]):
    def with_counts(self) -> ReconciliationQuerySet:
        """`open_count` and `explained_count`: its day's discrepancies."""
        of_day = (
            Discrepancy.objects.filter(cluster=OuterRef("cluster"), day=OuterRef("day"))
            .order_by()
            .values("cluster", "day")
        )
        states = {"open_count": Discrepancy.State.OPEN, "explained_count": Discrepancy.State.EXPLAINED}
        return self.annotate(
            **{
                name: Coalesce(Subquery(of_day.annotate(n=Count("pk", filter=Q(state=state))).values("n")), 0)
                for name, state in states.items()
            }
        )


class Reconciliation(models.Model):
    """One UTC day of a cluster, as it was last held against the scheduler's books. GPU-seconds of all accounts."""

    cluster = models.ForeignKey(Cluster, models.CASCADE, related_name="reconciliations")
    day = models.DateField(_("day"))
    checked_at = models.DateTimeField(default=timezone.now)
    ours = models.BigIntegerField(null=True, blank=True)  # empty, as the next two: not compared
    theirs = models.BigIntegerField(null=True, blank=True)
    until = models.DateTimeField(null=True, blank=True)  # so far the scheduler had added up
    # The scheduler's hours begin so many minutes before ours, where that explains the day's differences.
    zone_minutes = models.PositiveSmallIntegerField(null=True, blank=True)
    trouble = models.CharField(max_length=300, blank=True)  # why it could not be compared

    objects = ReconciliationQuerySet.as_manager()
    open_count: int  # of `with_counts`
    explained_count: int

    class Meta:
        ordering = ["-day", "cluster"]
        verbose_name = _("reconciliation")
        constraints = [
            models.UniqueConstraint(fields=["cluster", "day"], name="one_reconciliation_a_day"),
            models.CheckConstraint(
                name="compared_or_in_trouble",
                condition=Q(trouble="", ours__isnull=False, theirs__isnull=False, until__isnull=False)
                | ~Q(trouble="") & Q(ours=None, theirs=None, until=None),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.cluster.name} {self.day}"

    @property
    def outcome(self) -> Outcome:
        """Of a row of `with_counts`."""
        if self.until is None:
            return Outcome.UNREAD
        if self.open_count:
            return Outcome.DIFFERS
        if self.until < end_of(self):
            return Outcome.BEHIND
        return Outcome.EXPLAINED if self.explained_count else Outcome.AGREES


def end_of(reconciliation: Reconciliation) -> datetime:
    return datetime.combine(reconciliation.day + timedelta(days=1), time.min, tzinfo=UTC)


class DiscrepancyQuerySet(models.QuerySet["Discrepancy"]):
    def open(self) -> DiscrepancyQuerySet:
        return self.filter(state=Discrepancy.State.OPEN)


class Discrepancy(Moving):
    """An account's day on which our sum and the scheduler's are not the same. GPU-seconds of the account's own jobs."""

    class State(models.TextChoices):
        OPEN = "open", _("open")
        EXPLAINED = "explained", _("explained")
        GONE = "gone", _("gone")

    class Cause(models.TextChoices):
        RESERVATION = "reservation", _("idle reservation")
        RUNAWAY = "runaway", _("runaway job")
        ZONE = "zone", _("zone of the roll-up")
        BY_HAND = "by_hand", _("explained by staff")

    MOVES = {
        State.OPEN: {State.EXPLAINED, State.GONE},
        State.EXPLAINED: {State.OPEN, State.GONE},
        State.GONE: {State.OPEN, State.EXPLAINED},
    }

    cluster = models.ForeignKey(Cluster, models.CASCADE, related_name="discrepancies")
    day = models.DateField(_("day"))
    account = models.CharField(_("account"), max_length=100, blank=True)
    ours = models.BigIntegerField()
    theirs = models.BigIntegerField()
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.OPEN)
    cause = models.CharField(_("cause"), max_length=12, choices=Cause, blank=True)
    explanation = models.CharField(_("explanation"), max_length=500, blank=True)
    explained_by = models.ForeignKey(User, models.PROTECT, null=True, blank=True, related_name="+")
    opened_at = models.DateTimeField(default=timezone.now)  # for the last time

    objects = DiscrepancyQuerySet.as_manager()

    class Meta:
        ordering = ["-day", "cluster", "account"]
        verbose_name = _("discrepancy")
        constraints = [
            models.UniqueConstraint(
                fields=["cluster", "day", "account"], name="one_discrepancy_per_account_and_day"
            ),
        ]
        indexes = [
            models.Index(fields=["cluster"], condition=Q(state="open"), name="open_discrepancies"),
            models.Index(fields=["account", "day"], name="discrepancies_of_account"),
        ]

    def __str__(self) -> str:
        return f"{self.cluster.name} {self.day} {self.account}"

    @property
    def difference(self) -> int:
        """Ours less theirs."""
        return self.ours - self.theirs
