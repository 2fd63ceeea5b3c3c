"""The files of jobs: sent with them, read while they run, fetched after."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from jobs.models.jobs import Job
from portal.models import User


def a_week_from_now() -> datetime:
    return timezone.now() + timedelta(days=7)


class Upload(models.Model):
    """A file on its way from the browser (tus 1.0). Complete when `offset` = `size`; gone when it expires unused."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(User, models.CASCADE, related_name="uploads")
    path = models.CharField(max_length=1000)  # name below the job's folder, checked: jobs.paths
    size = models.BigIntegerField()
    offset = models.BigIntegerField(default=0)
    sha256 = models.CharField(max_length=64, blank=True)  # of the whole, once complete
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(default=a_week_from_now)

    class Meta:
        ordering = ["created_at"]
        constraints = [
            models.CheckConstraint(
                condition=Q(size__gte=0, offset__gte=0, offset__lte=F("size")), name="upload_within_size"
            )
        ]

    def __str__(self) -> str:
        return self.path

    @property
    def is_complete(self) -> bool:
        return self.offset == self.size and self.sha256 != ""

    @property
    def stored_at(self) -> Path:
        return Path(settings.UPLOAD_ROOT) / self.id.hex[:2] / self.id.hex


class JobFile(models.Model):
    """One file of a job: sent with it, or found in its folder after it ended."""

    class Kind(models.TextChoices):
        SCRIPT = "script", _("script")
        INPUT = "input", _("input")
        OUTPUT = "output", _("output")

    job = models.ForeignKey(Job, models.CASCADE, related_name="files")
    kind = models.CharField(max_length=6, choices=Kind)
    path = models.CharField(max_length=1000)
    size = models.BigIntegerField()
    sha256 = models.CharField(max_length=64, blank=True)
    modified_at = models.DateTimeField(null=True, blank=True)
    upload = models.ForeignKey(Upload, models.SET_NULL, null=True, blank=True, related_name="job_files")
    sent_at = models.DateTimeField(null=True, blank=True)  # when it was whole on the cluster

    class Meta:
        ordering = ["kind", "path"]
        constraints = [models.UniqueConstraint(fields=["job", "kind", "path"], name="job_file_once")]

    def __str__(self) -> str:
        return self.path


class LogTail(models.Model):
    """The end of a job's log as last read from the cluster: what the page shows. The whole is fetched as a file."""

    job = models.ForeignKey(Job, models.CASCADE, related_name="log_tails")
    stream = models.CharField(max_length=6, choices=[("stdout", "stdout"), ("stderr", "stderr")])
    task = models.PositiveIntegerField(default=0, db_default=0)  # of a sweep
    text = models.TextField(blank=True)  # cleaned: no escape codes, no control or bidi characters
    offset = models.BigIntegerField(default=0)  # bytes of the file read so far
    read_at = models.DateTimeField(null=True, blank=True)  # up to its end as it was then
    wanted_until = models.DateTimeField(null=True, blank=True)  # somebody looks at it

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["job", "stream", "task"], name="one_tail_per_stream_and_task")
        ]

    def __str__(self) -> str:
        return f"{self.job} {self.stream}"

    @property
    def is_whole(self) -> bool:
        """Whether it was read after the portal knew of the job's end: nothing can be added any more.

        Both moments are the portal's own. The scheduler's End is cut to the second and of another clock: a log read
        within that second would miss its last lines for ever.
        """
        known = self.job.outputs_listed_at
        return known is not None and self.read_at is not None and self.read_at > known


class Fetch(models.Model):
    """A file that somebody asked to see: brought from the cluster by the worker, kept for a while, served by the web."""

    class State(models.TextChoices):
        WANTED = "wanted", _("on its way")
        READY = "ready", _("ready")
        FAILED = "failed", _("failed")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    job_file = models.ForeignKey(JobFile, models.CASCADE, related_name="fetches")
    asked_by = models.ForeignKey(User, models.CASCADE, related_name="+")
    state = models.CharField(max_length=6, choices=State, default=State.WANTED)
    received = models.BigIntegerField(default=0)
    message = models.CharField(max_length=300, blank=True)
    asked_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(default=a_week_from_now)

    def __str__(self) -> str:
        return str(self.job_file)

    @property
    def why(self) -> str:
        """Why it failed, without a full stop: our sentences in the reader's language, the cluster's in its own."""
        return (gettext(self.message) if self.message else gettext("the cluster gave no reason")).rstrip(
            ".。"
        )

    @property
    def stored_at(self) -> Path:
        return Path(settings.UPLOAD_ROOT) / "fetched" / self.id.hex
