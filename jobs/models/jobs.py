"""What a member asked to run, and where it stands."""

from __future__ import annotations

import secrets

from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounting.models import Allocation, Cluster, Partition
from jobs import states
from jobs.spec import LONGEST_REASON, MOST_TASKS
from portal.models import Membership, Project, User
from portal.models.among import among
from portal.models.moves import Moving
from portal.models.people import CENTRE_ROLES, LAB_ROLES
from portal.permissions import Permission, has_permission

MAX_ATTEMPTS = 5  # of sending a job; then it waits for staff, who see why


NAMES = (
    "owner__name",
    "owner__email",
    "project__title",
    "project__slug",
    "cluster__name",
    "cluster__title",
    "partition__name",
    "partition__gpu_type",
    "partition__memory_per_gpu_mib",  # a job that ran out of it says how much that is
)


def new_token() -> str:
    """26 characters that nobody can guess: a job's name and folder on the cluster."""
    return secrets.token_hex(13)


class JobQuerySet(models.QuerySet["Job"]):
    def visible_to(self, user: User) -> JobQuerySet:
        """One's own, those of one's labs' projects, an institution's for its admins, all for the centre.

        Their files and logs are another question: `Job.files_readable_by`. A funder sees no job.
        """
        if user.roles & {*CENTRE_ROLES}:
            return self
        # Asked for at once: see `Project.ids`. Whoever never submitted, as an institution's admin, needs no OR:
        # a database counts by an index alone, but what fits an OR row by row.
        submitted = Exists(Job.objects.filter(owner=user))
        found = list(Project.objects.visible_to(user).order_by().values_list("pk", submitted))
        of_projects = among("project", (pk for pk, _submitted in found))
        if found and not found[0][1]:
            return self.filter(of_projects)
        return self.filter(Q(owner=user) | of_projects)

    def with_names(self) -> JobQuerySet:
        """For lists: of the person, the project, the cluster and the partition no more than what they are called."""
        own = (field.name for field in Job._meta.concrete_fields)
        return self.select_related("owner", "project", "cluster", "partition").only(*own, *NAMES)

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
