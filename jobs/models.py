"""What members ask to run, their files, and who they are on a cluster."""

from __future__ import annotations

import secrets
import uuid
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Exists, F, OuterRef, Q
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounting.models import Allocation, Cluster, Partition
from jobs import states
from jobs.signs import Link
from jobs.spec import LONGEST_REASON, MOST_TASKS
from portal.models import Membership, Project, User
from portal.models.moves import Moving
from portal.models.people import CENTRE_ROLES, LAB_ROLES
from portal.permissions import Permission, has_permission

posix_name = RegexValidator(
    r"^[a-z][a-z0-9_-]{0,30}\Z", _("Lower-case letters, digits, dash and underscore; at most 31.")
)


MAX_ATTEMPTS = 5  # of sending a job; then it waits for staff, who see why


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
        return self.filter(Q(owner=user) | Q(project__in=Project.objects.visible_to(user).ids()))

    def entitled(self) -> JobQuerySet:
        """Those whose people may still run them: as members of the lab, on a project that is open."""
        roles = Membership.objects.current().filter(
            user=OuterRef("owner"), lab=OuterRef("project__lab"), role__in=LAB_ROLES
        )
        return self.filter(
            Exists(roles),
            owner__is_active=True,
            project__state=Project.State.ACTIVE,
            project__lab__closed_at=None,
        )

    def final(self) -> JobQuerySet:
        return self.filter(state__in=states.FINAL)

    def unfinished(self) -> JobQuerySet:
        return self.filter(state__in=states.UNFINISHED)

    def unsent(self) -> JobQuerySet:
        return self.filter(state__in=states.UNSENT)

    def set_aside(self) -> JobQuerySet:
        """Sending failed so often that it is not tried again before staff have looked."""
        return self.filter(state=states.State.NEW, attempts__gte=MAX_ATTEMPTS)

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
    # More than one: a sweep. GPUs and time limit are each task's.
    tasks = models.PositiveIntegerField(_("tasks"), default=1, db_default=1)
    tasks_at_once = models.PositiveIntegerField(null=True, blank=True)  # empty: as many as there is room for

    state = models.CharField(_("state"), max_length=12, choices=State, default=State.NEW)
    # The scheduler's code or sentence, or a code of ours: jobs.reasons says it in words.
    reason = models.CharField(max_length=LONGEST_REASON, blank=True)
    message = models.CharField(max_length=500, blank=True)  # the scheduler's own words, when it refused
    scheduler_id = models.CharField(max_length=40, blank=True)
    exit_code = models.CharField(max_length=20, blank=True)
    # Of a sweep: one letter for each task, see jobs.array_tasks. Empty before it is on the cluster.
    task_states = models.CharField(max_length=MOST_TASKS, blank=True, default="", db_default="")
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
    # By jobs.adopting: this database had forgotten it, and with it its name and its files.
    found_at = models.DateTimeField(null=True, blank=True)

    objects = JobQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        verbose_name = _("job")
        constraints = [
            models.CheckConstraint(
                condition=Q(gpus__gt=0, time_limit_minutes__gt=0), name="job_asks_for_something"
            ),
            models.CheckConstraint(
                condition=Q(tasks__gte=1, tasks__lte=MOST_TASKS), name="job_has_tasks_within_limits"
            ),
            models.CheckConstraint(
                condition=Q(tasks_at_once=None) | Q(tasks_at_once__gte=1), name="some_tasks_at_once"
            ),
            models.CheckConstraint(
                condition=~Q(state__in=("queued", "running")) | ~Q(scheduler_id=""),
                name="job_on_cluster_has_id",
            ),
        ]
        indexes = [
            models.Index(fields=["cluster", "state"], name="jobs_by_state"),
            models.Index(fields=["cluster", "scheduler_id"], name="jobs_by_scheduler_id"),
            models.Index(fields=["scheduler_id"], name="jobs_by_number"),
            models.Index(
                fields=["project", "state"], condition=Q(state__in=states.UNFINISHED), name="unfinished_jobs"
            ),
            models.Index(fields=["owner", "-ended_at"], name="jobs_by_end"),
            models.Index(fields=["owner", "-id"], name="jobs_by_owner"),
            models.Index(fields=["project", "-id"], name="jobs_by_project"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_final(self) -> bool:
        return self.state in states.FINAL

    @property
    def is_sweep(self) -> bool:
        return self.tasks > 1

    def task_called(self, number: str) -> int | None:
        """The task of this number, as an address has it; None if there is none."""
        known = number.isascii() and number.isdigit() and len(number) < 5 and int(number) < self.tasks
        return int(number) if known else None

    @property
    def telling_task(self) -> int:
        """The task whose log says most: of a sweep that ended, the first that failed."""
        return max(self.task_states.find(states.TaskState.FAILED), 0) if self.is_final else 0

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


class ClusterAccountQuerySet(models.QuerySet["ClusterAccount"]):
    def visible_to(self, user: User) -> ClusterAccountQuerySet:
        """One's own; for the centre, all."""
        return self if user.roles & {*CENTRE_ROLES} else self.filter(user=user)

    def awaited(self) -> ClusterAccountQuerySet:
        """Asked for, and not there yet."""
        return self.filter(state=ClusterAccount.State.REQUESTED)

    def approved(self) -> ClusterAccountQuerySet:
        """Those that the portal may ask the cluster for."""
        return self.filter(Q(cluster__accounts_need_approval=False) | Q(approved_at__isnull=False))

    def leaving(self) -> ClusterAccountQuerySet:
        """From whom something is still to be taken away: in the database, or on the cluster."""
        # The ids of each first: a database sees through them at once, and through an EXISTS only row by row.
        unfounded = Association.objects.unfounded().order_by().values("account")
        return self.filter(Q(pk__in=unfounded) | self._being_shut_out())

    def being_shut_out(self) -> ClusterAccountQuerySet:
        """Flagged, which the sweep does within seconds; the cluster still knows them."""
        return self.filter(self._being_shut_out())

    def _being_shut_out(self) -> Q:
        to_remove = Association.objects.to_remove().order_by().values("account")
        return Q(pk__in=to_remove) | Q(state=ClusterAccount.State.DISABLED, shut_out_at=None)


class ClusterAccount(Moving):
    """The POSIX user that a person is on a cluster: requested → approved → exists → associated → active.

    The times say how far it is; only "active" lets jobs be sent. Without any right to run on a project it is disabled:
    `shut_out_at` is when the cluster said that nobody logs in as it any more.
    """

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
    message = models.CharField(max_length=300, blank=True)  # what the cluster last said against it
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    requested_at = models.DateTimeField(default=timezone.now)  # anew, for who comes back
    approved_at = models.DateTimeField(null=True, blank=True)  # where the cluster's centre wants to be asked
    approved_by = models.ForeignKey(User, models.PROTECT, null=True, blank=True, related_name="+")
    asked_at = models.DateTimeField(null=True, blank=True)  # when the portal asked the cluster for it
    found_at = models.DateTimeField(null=True, blank=True)  # when the POSIX user was there
    shut_out_at = models.DateTimeField(null=True, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)  # a worker makes it, or takes it away

    objects = ClusterAccountQuerySet.as_manager()

    class Meta:
        verbose_name = _("cluster account")
        constraints = [
            models.UniqueConstraint(fields=["user", "cluster"], name="one_account_per_person"),
            models.UniqueConstraint(fields=["cluster", "username"], name="username_never_reused"),
        ]

    def __str__(self) -> str:
        return self.username

    @property
    def is_active(self) -> bool:
        return self.state == self.State.ACTIVE

    @property
    def is_of_newcomer(self) -> bool:
        """Never asked for before: whoever comes back has the name that they had."""
        return self.asked_at is None and self.requested_at == self.created_at

    @property
    def is_approved(self) -> bool:
        return self.approved_at is not None or not self.cluster.accounts_need_approval


class AssociationQuerySet(models.QuerySet["Association"]):
    def live(self) -> AssociationQuerySet:
        return self.filter(ended_at=None)

    def usable(self) -> AssociationQuerySet:
        """The scheduler knows of it, and it holds."""
        return self.live().exclude(made_at=None)

    def unfounded(self) -> AssociationQuerySet:
        """Live, although nothing gives the right any more: no role in the lab, no active project, no active person."""
        roles = Membership.objects.current().filter(
            user=OuterRef("account__user"), lab=OuterRef("project__lab"), role__in=LAB_ROLES
        )
        return self.live().filter(
            ~Exists(roles)
            | ~Q(project__state=Project.State.ACTIVE)
            | Q(project__lab__closed_at__isnull=False)
            | Q(account__user__is_active=False)
        )

    def to_remove(self) -> AssociationQuerySet:
        """Ended, and the scheduler may still know of it."""
        return self.filter(ended_at__isnull=False, removed_at=None)


class Association(models.Model):
    """A person's right, known to the scheduler, to run on a project's account.

    `ended_at`: nothing more is sent on it. `removed_at`: the scheduler doesn't know it any more.
    """

    account = models.ForeignKey(ClusterAccount, models.CASCADE, related_name="associations")
    project = models.ForeignKey(Project, models.PROTECT, related_name="associations")
    made_at = models.DateTimeField(null=True, blank=True)  # empty: still to be made
    ended_at = models.DateTimeField(null=True, blank=True)
    removed_at = models.DateTimeField(null=True, blank=True)

    objects = AssociationQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["account", "project"], name="association_once"),
            models.CheckConstraint(
                condition=Q(removed_at=None) | Q(ended_at__isnull=False),
                name="association_ends_before_removal",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.account} → {self.project.account}"


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
