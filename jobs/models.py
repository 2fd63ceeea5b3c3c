"""What members ask to run, their files, and who they are on a cluster."""

from __future__ import annotations

import secrets
import uuid
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounting.models import Allocation, Cluster, Partition
from jobs import states
from portal.models import Project, Role, User
from portal.models.moves import Moving
from portal.models.people import CENTRE_ROLES, LAB_ROLES
from portal.permissions import Permission, has_permission

posix_name = RegexValidator(
    r"^[a-z][a-z0-9_-]{0,30}\Z", _("Lower-case letters, digits, dash and underscore; at most 31.")
)


def new_token() -> str:
    """26 characters that nobody can guess: a job's name and folder on the cluster."""
    return secrets.token_hex(13)


def a_week_from_now() -> datetime:
    return timezone.now() + timedelta(days=7)


class JobQuerySet(models.QuerySet["Job"]):
    def visible_to(self, user: User) -> JobQuerySet:
        """One's own, those of one's labs' projects, an institution's for its admins, all for the centre.

        Their files and logs are another question: `Job.files_readable_by`. A funder sees no job.
        """
        if user.roles & {*CENTRE_ROLES}:
            return self
        labs = [m.lab_id for m in user.current_memberships if m.role in LAB_ROLES]
        institutions = [
            m.institution_id for m in user.current_memberships if m.role == Role.INSTITUTION_ADMIN
        ]
        return self.filter(
            Q(owner=user) | Q(project__lab__in=labs) | Q(project__lab__institution__in=institutions)
        )

    def final(self) -> JobQuerySet:
        return self.filter(state__in=states.FINAL)

    def unfinished(self) -> JobQuerySet:
        return self.exclude(state__in=states.FINAL)

    def on_cluster(self, cluster: Cluster) -> JobQuerySet:
        return self.filter(cluster=cluster, state__in=states.ON_CLUSTER)


class Job(Moving):
    """What a member asked to run: spec, state, reason, scheduler id, token."""

    State = states.State
    MOVES = states.MOVES

    token = models.CharField(max_length=26, unique=True, default=new_token, editable=False)
    owner = models.ForeignKey(User, models.PROTECT, related_name="jobs")
    project = models.ForeignKey(Project, models.PROTECT, related_name="jobs")
    allocation = models.ForeignKey(Allocation, models.PROTECT, related_name="jobs")
    cluster = models.ForeignKey(Cluster, models.PROTECT, related_name="jobs")
    partition = models.ForeignKey(Partition, models.PROTECT, related_name="jobs")
    name = models.CharField(_("name"), max_length=100)
    gpus = models.PositiveIntegerField(_("GPUs"))
    time_limit_minutes = models.PositiveIntegerField(_("time limit"))

    state = models.CharField(_("state"), max_length=12, choices=State, default=State.NEW)
    reason = models.CharField(
        max_length=60, blank=True
    )  # the scheduler's code, or one of ours: jobs.reasons says it in words
    message = models.CharField(max_length=500, blank=True)  # the scheduler's own words, when it refused
    scheduler_id = models.CharField(max_length=40, blank=True)
    exit_code = models.CharField(max_length=20, blank=True)
    nodes = models.CharField(max_length=200, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)  # times that sending failed
    not_before = models.DateTimeField(null=True, blank=True)  # of the next attempt
    outputs_listed_at = models.DateTimeField(null=True, blank=True)

    created_at = models.DateTimeField(default=timezone.now, editable=False)
    looked_up_at = models.DateTimeField(null=True, blank=True)  # first time that nobody knew a job being sent
    claimed_at = models.DateTimeField(null=True, blank=True)
    queued_at = models.DateTimeField(null=True, blank=True)
    expected_start_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    confirmed_at = models.DateTimeField(null=True, blank=True)  # when the cluster last told us of it
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    cancel_requested_by = models.ForeignKey(User, models.PROTECT, null=True, blank=True, related_name="+")

    objects = JobQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        verbose_name = _("job")
        constraints = [
            models.CheckConstraint(
                condition=Q(gpus__gt=0, time_limit_minutes__gt=0), name="job_asks_for_something"
            ),
            models.CheckConstraint(
                condition=~Q(state__in=("queued", "running")) | ~Q(scheduler_id=""),
                name="job_on_cluster_has_id",
            ),
        ]
        indexes = [
            models.Index(fields=["cluster", "state"], name="jobs_by_state"),
            models.Index(fields=["cluster", "scheduler_id"], name="jobs_by_scheduler_id"),
            models.Index(fields=["owner", "-id"], name="jobs_by_owner"),
            models.Index(fields=["project", "-id"], name="jobs_by_project"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_final(self) -> bool:
        return self.state in states.FINAL

    def files_readable_by(self, user: User) -> bool:
        """Its files and its log: the owner's and the lab's PI's. Others who see the job see what it is, not what it does."""
        return user.pk == self.owner_id or has_permission(
            user, Permission.READ_LAB_FILES, lab=self.project.lab
        )


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
    text = models.TextField(blank=True)  # cleaned: no escape codes, no control or bidi characters
    offset = models.BigIntegerField(default=0)  # bytes of the file read so far
    read_at = models.DateTimeField(null=True, blank=True)  # up to its end as it was then
    wanted_until = models.DateTimeField(null=True, blank=True)  # somebody looks at it

    class Meta:
        constraints = [models.UniqueConstraint(fields=["job", "stream"], name="one_tail_per_stream")]

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
    def stored_at(self) -> Path:
        return Path(settings.UPLOAD_ROOT) / "fetched" / self.id.hex


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


class ClusterAccount(Moving):
    """The POSIX user that a person is on a cluster."""

    class State(models.TextChoices):
        REQUESTED = "requested", _("being made")
        ACTIVE = "active", _("active")
        DISABLED = "disabled", _("disabled")

    MOVES = {
        State.REQUESTED: {State.ACTIVE, State.DISABLED},
        State.ACTIVE: {State.DISABLED},
        State.DISABLED: {State.REQUESTED},
    }

    user = models.ForeignKey(User, models.PROTECT, related_name="cluster_accounts")
    cluster = models.ForeignKey(Cluster, models.PROTECT, related_name="accounts")
    username = models.CharField(max_length=31, validators=[posix_name])
    state = models.CharField(max_length=10, choices=State, default=State.REQUESTED)
    message = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        verbose_name = _("cluster account")
        constraints = [
            models.UniqueConstraint(fields=["user", "cluster"], name="one_account_per_person"),
            models.UniqueConstraint(fields=["cluster", "username"], name="username_never_reused"),
        ]

    def __str__(self) -> str:
        return self.username


class Association(models.Model):
    """A person's right, known to the scheduler, to run on a project's account."""

    account = models.ForeignKey(ClusterAccount, models.CASCADE, related_name="associations")
    project = models.ForeignKey(Project, models.PROTECT, related_name="associations")
    made_at = models.DateTimeField(null=True, blank=True)  # empty: still to be made

    class Meta:
        constraints = [models.UniqueConstraint(fields=["account", "project"], name="association_once")]

    def __str__(self) -> str:
        return f"{self.account} → {self.project.account}"


class ClusterHealth(models.Model):
    """What the poller knows of a cluster. One poller is elected by the lease."""

    cluster = models.OneToOneField(Cluster, models.CASCADE, related_name="health")
    lease_until = models.DateTimeField(null=True, blank=True)
    asked_at = models.DateTimeField(null=True, blank=True)
    answered_at = models.DateTimeField(null=True, blank=True)  # the last good answer
    failures = models.PositiveIntegerField(default=0)  # bad answers since
    problem = models.CharField(max_length=300, blank=True)  # in words, of the last bad answer
    try_again_at = models.DateTimeField(null=True, blank=True)
    queue_length = models.PositiveIntegerField(default=0)
    free_gpus = models.PositiveIntegerField(null=True, blank=True)  # empty: not known

    def __str__(self) -> str:
        return self.cluster.name

    @property
    def is_reachable(self) -> bool:
        return self.answered_at is not None and self.failures == 0
