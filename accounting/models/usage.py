"""Facts: what the scheduler's accounting said, record by record and day by day."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from accounting.models.clusters import Cluster
from accounting.runs import Anomaly
from portal.models import Project, User


class UsageRecord(models.Model):
    """One record of the scheduler's accounting (a requeue makes a second one), with what it held.

    Also of jobs started outside the portal, and of accounts that no project owns (`project` empty:
    shown to staff as unassigned). `identity` is Run.identity's second part.
    """

    # The constraints' own indexes begin with the cluster: another one would only cost time. Who writes records holds
    # their cluster's row locked, so it is there; to have each one looked up again took a sixth of an import.
    cluster = models.ForeignKey(
        Cluster, models.PROTECT, related_name="usage_records", db_index=False, db_constraint=False
    )
    identity = models.CharField(max_length=80)
    job_id_raw = models.CharField(max_length=40)
    job_id = models.CharField(max_length=80)
    account = models.CharField(max_length=100, blank=True)
    user = models.CharField(max_length=100, blank=True)  # the POSIX user
    partition = models.CharField(max_length=100, blank=True)
    qos = models.CharField(max_length=100, blank=True)
    submit = models.DateTimeField(null=True)
    start = models.DateTimeField(null=True)
    end = models.DateTimeField(null=True)
    state = models.CharField(max_length=30)
    exit_code = models.CharField(max_length=20, blank=True)
    time_limit_minutes = models.PositiveIntegerField(null=True)
    gpus = models.PositiveIntegerField()
    gpus_by_type = models.JSONField(default=dict)
    gpu_type = models.CharField(max_length=40, blank=True)  # of the devices that it does not name a type of
    shards = models.PositiveIntegerField(default=0)  # parts of shared devices: no devices
    held_until = models.DateTimeField(null=True)  # end of what is counted; empty where nothing is
    gpu_seconds = models.BigIntegerField()
    provisional = models.BooleanField(default=False)
    anomaly = models.CharField(max_length=20, blank=True, choices=[(a.value, a.value) for a in Anomaly])
    project = models.ForeignKey(Project, models.PROTECT, null=True, related_name="usage_records")
    person = models.ForeignKey(
        User, models.PROTECT, null=True, related_name="usage_records", db_index=False
    )  # usage_of_person
    source = models.BinaryField(
        max_length=16, default=b""
    )  # a mark of the imported text: the same is skipped
    changed_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["cluster", "identity"], name="one_row_per_scheduler_record"),
            models.CheckConstraint(condition=Q(gpu_seconds__gte=0), name="usage_not_negative"),
            models.CheckConstraint(
                condition=Q(held_until=None) | Q(held_until__gte=F("start")), name="held_until_after_start"
            ),
        ]
        indexes = [
            models.Index(fields=["cluster", "account", "start"], name="usage_by_account"),
            models.Index(fields=["cluster", "job_id"], name="usage_of_job"),
            models.Index(fields=["cluster"], condition=Q(project=None) | ~Q(anomaly=""), name="odd_usage"),
            models.Index(fields=["cluster"], condition=Q(provisional=True), name="running_usage"),
            # Most of a centre's history is of POSIX users whom the portal doesn't know.
            models.Index(fields=["person"], condition=~Q(person=None), name="usage_of_person"),
        ]

    def __str__(self) -> str:
        return f"{self.cluster.name} {self.job_id} {self.state}"


class UsageDay(models.Model):
    """GPU-seconds by UTC day and all that reports ask for. Made from UsageRecords; can be made anew at any time.

    Cluster, project and person are those of the records, where the database checks them: once is enough.
    """

    cluster = models.ForeignKey(
        Cluster, models.PROTECT, related_name="usage_days", db_index=False, db_constraint=False
    )
    day = models.DateField()
    account = models.CharField(max_length=100, blank=True)
    user = models.CharField(max_length=100, blank=True)
    partition = models.CharField(max_length=100, blank=True)
    gpu_type = models.CharField(max_length=40, blank=True)
    state = models.CharField(max_length=30)
    project = models.ForeignKey(
        Project, models.PROTECT, null=True, related_name="usage_days", db_index=False, db_constraint=False
    )  # usage_day_by_project
    person = models.ForeignKey(
        User, models.PROTECT, null=True, related_name="usage_days", db_index=False, db_constraint=False
    )  # usage_day_of_person
    gpu_seconds = models.BigIntegerField()
    provisional_gpu_seconds = models.BigIntegerField(default=0)  # the part of it that may still change
    shard_seconds = models.BigIntegerField(default=0)  # in cells of the type "shard"; never GPU-seconds

    class Meta:
        ordering = ["day", "cluster", "account"]
        constraints = [
            models.UniqueConstraint(
                fields=["cluster", "day", "account", "user", "partition", "gpu_type", "state"],
                name="one_row_per_usage_cell",
            ),
            models.CheckConstraint(
                condition=Q(gpu_seconds__gt=0, shard_seconds=0) | Q(gpu_seconds=0, shard_seconds__gt=0),
                name="usage_day_positive",
            ),
            models.CheckConstraint(
                condition=Q(provisional_gpu_seconds__gte=0, provisional_gpu_seconds__lte=F("gpu_seconds")),
                name="provisional_is_a_part",
            ),
        ]
        indexes = [
            models.Index(fields=["project", "day"], name="usage_day_by_project"),
            models.Index(fields=["day"], name="usage_day_by_day"),
            models.Index(fields=["person"], condition=~Q(person=None), name="usage_day_of_person"),
        ]

    def __str__(self) -> str:
        return f"{self.day} {self.account} {self.gpu_seconds}"
