"""What a cluster told the portal last: whether it answers, and when a job would start."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from accounting.models import Cluster, Partition
from jobs.signs import Link
from portal.models import Project, User


class ClusterHealth(models.Model):
    """What the poller knows of a cluster. One poller is elected by the lease."""

    cluster = models.OneToOneField(Cluster, models.CASCADE, related_name="health")
    lease_until = models.DateTimeField(null=True, blank=True)
    ask_at = models.DateTimeField(null=True, blank=True)  # next: jobs.pace. Empty: now, or it is being asked
    asked_at = models.DateTimeField(null=True, blank=True)
    answered_at = models.DateTimeField(null=True, blank=True)  # the last good answer
    failures = models.PositiveIntegerField(default=0)  # bad answers since
    problem = models.CharField(max_length=300, blank=True)  # in words, of the last bad answer
    broken = models.CharField(max_length=9, choices=Link, blank=True)  # the part of the road that failed
    broken_since = models.DateTimeField(null=True, blank=True)
    poll_seconds = models.FloatField(null=True, blank=True)  # that the last good poll took, in all
    try_again_at = models.DateTimeField(null=True, blank=True)
    queue_length = models.PositiveIntegerField(default=0)
    free_gpus = models.PositiveIntegerField(null=True, blank=True)  # empty: not known
    catching_up_until = models.DateTimeField(null=True, blank=True)  # after a silence: jobs.adopting
    # Whether the site lets the portal keep budgets in the scheduler, too; empty: not known yet.
    fenced = models.BooleanField(null=True, blank=True)

    def __str__(self) -> str:
        return self.cluster.name

    @property
    def is_reachable(self) -> bool:
        return self.answered_at is not None and self.failures == 0


class StartEstimate(models.Model):
    """When the scheduler would start a job of this shape, as it said when a member last asked."""

    user = models.ForeignKey(User, models.CASCADE, related_name="+")
    project = models.ForeignKey(Project, models.CASCADE, related_name="+")
    partition = models.ForeignKey(Partition, models.CASCADE, related_name="+")
    gpus = models.PositiveIntegerField()
    time_limit_minutes = models.PositiveIntegerField()
    asked_at = models.DateTimeField(default=timezone.now)
    answered_at = models.DateTimeField(null=True, blank=True)
    starts_at = models.DateTimeField(null=True, blank=True)  # empty in an answer: the scheduler can't say
    refusal = models.CharField(max_length=300, blank=True)  # why it would not take such a job, in its words

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["user", "project", "partition", "gpus", "time_limit_minutes"],
                name="one_estimate_per_shape",
            )
        ]

    def __str__(self) -> str:
        return f"{self.gpus} × {self.partition}: {self.starts_at}"

    @property
    def is_answered(self) -> bool:
        return self.answered_at is not None and self.answered_at >= self.asked_at
