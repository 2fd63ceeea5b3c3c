"""How far the scheduler's accounting was read, and what of it could not be."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounting.models.clusters import Cluster
from portal.models import User


class Collection(models.Model):
    """The watermark of a cluster: everything up to `complete_until` was asked for and answered whole."""

    cluster = models.OneToOneField(Cluster, models.CASCADE, related_name="collection")
    complete_until = models.DateTimeField()
    updated_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"{self.cluster.name} until {self.complete_until:%Y-%m-%d %H:%M}"


class QuarantinedRecordQuerySet(models.QuerySet["QuarantinedRecord"]):
    def unseen(self) -> QuarantinedRecordQuerySet:
        return self.filter(looked_at=None)


class QuarantinedRecord(models.Model):
    """A record that could not be read: never guessed, shown to staff until one of them looked at it. Nothing of it is counted."""

    cluster = models.ForeignKey(Cluster, models.CASCADE, related_name="quarantined")
    fingerprint = models.CharField(max_length=64)  # sha256 of the text: the same line is kept once
    text = models.TextField()
    reason = models.CharField(max_length=300)
    first_seen_at = models.DateTimeField(default=timezone.now)
    looked_at = models.DateTimeField(null=True, blank=True)
    looked_by = models.ForeignKey(User, models.PROTECT, null=True, blank=True, related_name="+")
    note = models.CharField(max_length=500, blank=True)  # what it was, by who looked

    objects = QuarantinedRecordQuerySet.as_manager()

    class Meta:
        verbose_name = _("quarantined record")
        ordering = ["-first_seen_at", "-pk"]
        constraints = [models.UniqueConstraint(fields=["cluster", "fingerprint"], name="quarantined_once")]
        indexes = [models.Index(fields=["cluster"], condition=Q(looked_at=None), name="quarantined_unseen")]

    def __str__(self) -> str:
        return f"{self.cluster.name}: {self.reason}"
