"""Whether a cluster's usage can be measured, and which windows of its accounting were read, when."""

from __future__ import annotations

from datetime import datetime

from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounting.models.clusters import Cluster


class Capability(models.Model):
    """What the last look at a cluster's accounting found. `measured` empty: nobody knows yet.

    Only where it is true are records read: a cluster that does not track its GPUs would look as if nobody used any.
    """

    cluster = models.OneToOneField(Cluster, models.CASCADE, related_name="capability")
    measured = models.BooleanField(null=True)
    findings = models.JSONField(default=list)  # [{"check", "ok", "seen"}…], see jobs.probing
    checked_at = models.DateTimeField(null=True)  # when the cluster last answered
    tried_at = models.DateTimeField(null=True)
    trouble = models.CharField(max_length=300, blank=True)  # why the last try had no answer
    wanted_at = models.DateTimeField(null=True)  # somebody asked for another look, which was not taken yet

    class Meta:
        verbose_name = _("measurability")

    def __str__(self) -> str:
        return f"{self.cluster.name}: {self.measured}"


class CollectionWindow(models.Model):
    """How far back one kind of window was read, the last time that it was read to its end.

    `since` and `until` are of the last window that succeeded: the watermark. A window is asked in slices; how far the one
    under way has come stands in `reached`, so that what failed is asked again, and not the whole.
    """

    class Kind(models.TextChoices):
        RECENT = "recent", _("the last 48 hours")
        WEEK = "week", _("the last 8 days")
        MONTHS = "months", _("this month and the one before")

    cluster = models.ForeignKey(Cluster, models.CASCADE, related_name="windows")
    kind = models.CharField(max_length=6, choices=Kind)
    since = models.DateTimeField(null=True)
    until = models.DateTimeField(null=True)  # when asking for it began
    succeeded_at = models.DateTimeField(null=True)
    records = models.PositiveIntegerField(default=0)  # in its answers: one that lasts over slices is in each
    trouble = models.CharField(max_length=300, blank=True)  # of the last try; empty: it went well
    tried_at = models.DateTimeField(null=True)
    lease_until = models.DateTimeField(null=True)  # a worker reads it now
    asked_since = models.DateTimeField(null=True)  # of the window under way; empty: there is none
    asked_until = models.DateTimeField(null=True)
    reached = models.DateTimeField(null=True)
    found = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ["cluster", "pk"]
        constraints = [
            models.UniqueConstraint(fields=["cluster", "kind"], name="one_window_of_a_kind"),
            models.CheckConstraint(
                condition=Q(since=None, until=None, succeeded_at=None)
                | Q(since__lte=F("until"), succeeded_at__isnull=False),
                name="window_begins_before_it_ends",
            ),
            models.CheckConstraint(
                condition=Q(asked_since=None, asked_until=None, reached=None)
                | Q(asked_since__lte=F("reached"), reached__lte=F("asked_until")),
                name="window_under_way_is_whole",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.cluster.name} {self.kind}"

    @property
    def under_way(self) -> tuple[datetime, datetime] | None:
        """What of it is still to be asked."""
        return (self.reached, self.asked_until) if self.reached and self.asked_until else None


class ReadMonth(models.Model):
    """A UTC month whose records were all read after it had ended: without that it can't be closed."""

    cluster = models.ForeignKey(Cluster, models.CASCADE, related_name="read_months")
    month = models.DateField()  # its first day
    read_at = models.DateTimeField(default=timezone.now)  # when asking began, the last time

    class Meta:
        ordering = ["-month"]
        constraints = [models.UniqueConstraint(fields=["cluster", "month"], name="month_read_once")]

    def __str__(self) -> str:
        return f"{self.cluster.name} {self.month:%Y-%m}"
