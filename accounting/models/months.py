"""Months whose figures are final, and what became known of them afterwards."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounting.models.clusters import Cluster
from accounting.models.usage import UsageRecord
from portal.models import Project, User


class ClosedMonth(models.Model):
    """A UTC month of a cluster whose UsageDays never change again. Append-only, by a rule in the database."""

    cluster = models.ForeignKey(Cluster, models.PROTECT, related_name="closed_months")
    month = models.DateField()  # its first day
    gpu_seconds = models.BigIntegerField()  # the sum of its days, as it will always be
    read_at = models.DateTimeField(null=True)  # the last whole look at its records; empty: they were imported
    closed_at = models.DateTimeField(default=timezone.now)
    closed_by = models.ForeignKey(User, models.PROTECT, null=True, related_name="+")  # empty: by the policy

    class Meta:
        verbose_name = _("closed month")
        ordering = ["-month"]
        constraints = [
            models.UniqueConstraint(fields=["cluster", "month"], name="month_closed_once"),
            models.CheckConstraint(condition=Q(gpu_seconds__gte=0), name="closed_month_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.cluster.name} {self.month:%Y-%m}"


class UsageCorrection(models.Model):
    """What a record changed in a closed month, entered on a day of an open one. Append-only, by a rule in the database.

    Facts are UsageDays + corrections by `day`; a report of a period is UsageDays + corrections by `dated`. The state of a
    run is no quantity: one that ended in another state holds the same GPU-seconds, and corrects nothing.
    """

    class Reason(models.TextChoices):
        LATE = "late", _("came after the month was closed")
        CHANGED = "changed", _("corrected by the scheduler")

    cluster = models.ForeignKey(Cluster, models.PROTECT, related_name="corrections", db_index=False)
    day = models.DateField()  # which it concerns
    dated = models.DateField()  # on which it counts
    account = models.CharField(max_length=100, blank=True)
    user = models.CharField(max_length=100, blank=True)
    partition = models.CharField(max_length=100, blank=True)
    gpu_type = models.CharField(max_length=40, blank=True)
    project = models.ForeignKey(
        Project, models.PROTECT, null=True, related_name="usage_corrections", db_index=False
    )
    person = models.ForeignKey(User, models.PROTECT, null=True, related_name="usage_corrections")
    record = models.ForeignKey(UsageRecord, models.PROTECT, related_name="corrections")
    gpu_seconds = models.BigIntegerField()  # below zero: less was used
    shard_seconds = models.BigIntegerField(default=0)
    reason = models.CharField(max_length=7, choices=Reason)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-dated", "-pk"]
        constraints = [
            models.CheckConstraint(
                condition=~Q(gpu_seconds=0, shard_seconds=0), name="correction_corrects_something"
            ),
            models.CheckConstraint(condition=Q(dated__gt=F("day")), name="correction_is_dated_later"),
        ]
        indexes = [
            models.Index(fields=["dated"], name="correction_by_date"),
            models.Index(fields=["project", "dated"], name="correction_by_project"),
            models.Index(fields=["cluster", "day"], name="correction_by_day"),
        ]

    def __str__(self) -> str:
        return f"{self.day} {self.account} {self.gpu_seconds:+}"
