"""What the centre's staff do to keep the road to the clusters open: maintenance, login nodes, jobs that could not be sent."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from accounting.models import Cluster, Maintenance
from jobs import lifecycle, tasks
from jobs.actions import Refused
from jobs.models import MAX_ATTEMPTS, Job
from jobs.signs import LoginNodeSign
from jobs.states import State
from portal.doorbell import ring
from portal.emails import post
from portal.models import User
from portal.models.audit import record
from portal.permissions import Permission, check_permission
from portal.transitions import Overtaken, overtaken

LONGEST = timedelta(days=31)
FURTHEST = timedelta(days=366)


@transaction.atomic
def set_maintenance(
    *, by: User, cluster: Cluster, begins_at: datetime, until: datetime, sentence: str
) -> Maintenance:
    """Leave the cluster alone from `begins_at` to `until`; `sentence` is for the members. Refused: at a field, in words."""
    check_permission(by, Permission.KEEP_CLUSTERS)
    # One maintenance is set after the other.
    Cluster.objects.select_for_update(no_key=True).get(pk=cluster.pk)
    _check_times(begins_at, until)
    meets = Maintenance.objects.not_over(timezone.now()).filter(
        cluster=cluster, begins_at__lt=until, until__gt=begins_at
    )
    if meets.exists():
        raise Refused(
            "begins_at", _("It would meet another maintenance of this cluster. End that one first.")
        )
    made = Maintenance.objects.create(
        cluster=cluster, begins_at=begins_at, until=until, sentence=sentence, set_by=by
    )
    record(
        "maintenance set",
        made,
        by=by,
        cluster=cluster.name,
        begins_at=begins_at.isoformat(),
        until=until.isoformat(),
        sentence=sentence,
    )
    return made


def _check_times(begins_at: datetime, until: datetime) -> None:
    now = timezone.now()
    if until <= begins_at:
        raise Refused("until", _("It has to end after it begins."))
    if until <= now:
        raise Refused("until", _("This is over already."))
    if until - begins_at > LONGEST:
        raise Refused("until", _("At most %(days)s days at once.") % {"days": LONGEST.days})
    if begins_at > now + FURTHEST:
        raise Refused("begins_at", _("At most a year ahead."))


@transaction.atomic
def end_maintenance(*, by: User, maintenance: Maintenance) -> None:
    """Now, or before it begins. What was kept is sent at once."""
    check_permission(by, Permission.KEEP_CLUSTERS)
    now = timezone.now()
    going = Maintenance.objects.not_over(now).filter(pk=maintenance.pk)
    if not going.update(ended_at=now, ended_by=by):
        raise Overtaken(_("Somebody was faster: this maintenance is over already."))
    record("maintenance ended", maintenance, by=by, cluster=maintenance.cluster.name)
    ring(tasks.sync_cluster, maintenance.cluster_id)
    ring(tasks.dispatch, maintenance.cluster_id)


@transaction.atomic
def trust_node(*, by: User, sign: LoginNodeSign) -> None:
    """Staff looked at a node whose host key had changed: it may be tried again, with the key that is pinned."""
    check_permission(by, Permission.KEEP_CLUSTERS)
    distrusted = LoginNodeSign.objects.filter(pk=sign.pk, distrusted_at__isnull=False)
    if not distrusted.update(distrusted_at=None, failing_since=None, behind_until=None, problem=""):
        raise Overtaken(_("Somebody was faster: this login node is tried again already."))
    record("host key looked at", sign, by=by, cluster=sign.cluster.name, node=str(sign))


@transaction.atomic
def send_again(*, by: User, job: Job) -> None:
    """Another MAX_ATTEMPTS tries for a job that was set aside."""
    check_permission(by, Permission.KEEP_CLUSTERS)
    waiting = Job.objects.set_aside().filter(pk=job.pk)
    if not waiting.update(attempts=0, not_before=None):
        raise _no_longer(job)
    record("job sent again", job, by=by, project=job.project)
    ring(tasks.dispatch, job.cluster_id)


@transaction.atomic
def give_up(*, by: User, job: Job, reason: str) -> None:
    """The job has failed: its hold is released, and its owner is told why."""
    check_permission(by, Permission.KEEP_CLUSTERS)
    aside = job.state == State.NEW and job.attempts >= MAX_ATTEMPTS
    if not aside or not lifecycle.finish(job, State.FAILED, reason="GivenUp", message=reason):
        raise _no_longer(job)
    record("job given up", job, by=by, project=job.project, reason=reason)
    post(
        "job_given_up",
        to=job.owner,
        key=f"job given up {job.pk}",
        path=reverse("jobs:detail", args=[job.pk]),
        job=job.name,
        cluster=job.cluster.title,
        reason=reason,
    )


def _no_longer(job: Job) -> Overtaken:
    job.refresh_from_db()
    if job.state == State.NEW:
        return Overtaken(_("Somebody was faster: this job is sent again."))
    return overtaken(job)
