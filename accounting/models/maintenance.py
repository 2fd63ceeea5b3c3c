"""Maintenance of a cluster: a time in which its centre wants to be left alone, said beforehand or at once."""

from __future__ import annotations

from datetime import datetime

from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounting.models.clusters import Cluster
from portal.models import User


class MaintenanceQuerySet(models.QuerySet["Maintenance"]):
    def not_over(self, now: datetime) -> MaintenanceQuerySet:
        return self.filter(ended_at=None, until__gt=now)

    def under_way(self, now: datetime) -> MaintenanceQuerySet:
        return self.not_over(now).filter(begins_at__lte=now)


class Maintenance(models.Model):
    """From `begins_at` to `until`, or to when staff end it. Jobs are taken and kept; nothing is sent or asked."""

    cluster = models.ForeignKey(Cluster, models.CASCADE, related_name="maintenances")
    begins_at = models.DateTimeField(_("from"))
    until = models.DateTimeField(_("until"))
    sentence = models.CharField(_("sentence"), max_length=300)
    set_by = models.ForeignKey(User, models.PROTECT, related_name="+")
    set_at = models.DateTimeField(default=timezone.now, editable=False)
    ended_at = models.DateTimeField(null=True, blank=True)  # before its time; also one that never began
    ended_by = models.ForeignKey(User, models.PROTECT, null=True, blank=True, related_name="+")

    objects = MaintenanceQuerySet.as_manager()

    class Meta:
        ordering = ["-begins_at", "-pk"]
        verbose_name = _("maintenance")
        constraints = [
            models.CheckConstraint(
                condition=Q(until__gt=F("begins_at")), name="maintenance_ends_after_it_begins"
            )
        ]

    def __str__(self) -> str:
        return f"{self.cluster}: {self.sentence}"

    def is_over(self, now: datetime) -> bool:
        return self.ended_at is not None or self.until <= now

    def lasts(self, now: datetime) -> bool:
        return not self.is_over(now) and self.begins_at <= now
