"""How far the scheduler's accounting was read, and what of it could not be."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from accounting.models.clusters import Cluster


class Collection(models.Model):
    """The watermark of a cluster: everything up to `complete_until` was asked for and answered whole."""

    cluster = models.OneToOneField(Cluster, models.CASCADE, related_name="collection")
    complete_until = models.DateTimeField()
    updated_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"{self.cluster.name} until {self.complete_until:%Y-%m-%d %H:%M}"


class QuarantinedRecord(models.Model):
    """A record that could not be read: never guessed, shown to staff. Nothing of it is counted."""

    cluster = models.ForeignKey(Cluster, models.CASCADE, related_name="quarantined")
    fingerprint = models.CharField(max_length=64)  # sha256 of the text: the same line is kept once
    text = models.TextField()
    reason = models.CharField(max_length=300)
    first_seen_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-first_seen_at"]
        constraints = [models.UniqueConstraint(fields=["cluster", "fingerprint"], name="quarantined_once")]

    def __str__(self) -> str:
        return f"{self.cluster.name}: {self.reason}"
