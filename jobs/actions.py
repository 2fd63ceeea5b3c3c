"""What people do with jobs. One transaction each, with `by`; the worker is rung once it stands."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from accounting import ledger
from accounting.models import Capability, Cluster, Partition
from jobs import lifecycle, pressure, quoting, tasks
from jobs.identity import association_for
from jobs.models import (
    Association,
    ClusterAccount,
    Fetch,
    Job,
    JobFile,
    LogTail,
    StartEstimate,
    Upload,
    new_token,
)
from jobs.states import State
from portal.actions.terms import check_accepted
from portal.doorbell import ring
from portal.models import Project, User
from portal.models.audit import record
from portal.permissions import REFUSALS, Permission, check_permission
from portal.transitions import Overtaken

LOG_INTEREST = timedelta(seconds=15)  # so long after the last look, nobody is looking
LOG_PERIOD = timedelta(seconds=2)
ESTIMATE_PERIOD = timedelta(seconds=30)


class Refused(Exception):
    """The portal says no, in words for the person, at a form's field ("" is the whole form)."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.message = message


@transaction.atomic
def create_and_submit(
    *,
    by: User,
    project: Project,
    partition: Partition,
    name: str,
    gpus: int,
    time_limit_minutes: int,
    script: Upload,
    inputs: Sequence[Upload],
    task_count: int = 1,
    tasks_at_once: int | None = None,
    token: str = "",
) -> Job:
    """Take the hold, keep the job with its files, and write the audit row: all or nothing. Then ring the worker.

    pressure.Busy: so much waits already that this has to come later.
    TermsNotAccepted: there is a version of the terms of use that `by` has not accepted.
    `token` may be drawn beforehand: the same one again (a button pressed twice) gives the same job again.
    """
    check_permission(by, Permission.SUBMIT_JOB, lab=project.lab)
    User.objects.select_for_update(no_key=True).get(pk=by.pk)  # one submission of a person after the other
    earlier = Job.objects.filter(token=token, owner=by).first() if token else None
    if earlier is not None:
        return earlier
    check_accepted(by)
    _check_open(project, partition)
    pressure.check(by=by, project=project, cluster=partition.cluster)
    _check_files(by, [script, *inputs])
    price = quoting.price_of(partition, gpus, time_limit_minutes, task_count)
    payer, problem = quoting.payer_of(price, by=by, project=project, partition=partition)
    if payer is None:
        raise Refused("", problem)
    job = Job.objects.create(
        token=token or new_token(),
        owner=by,
        project=project,
        allocation=payer,
        cluster=partition.cluster,
        partition=partition,
        name=name,
        gpus=gpus,
        time_limit_minutes=time_limit_minutes,
        tasks=task_count,
        tasks_at_once=tasks_at_once,
    )
    try:
        ledger.hold(payer, price.cost, reference=job.token, person=by)
    except ledger.NotEnough as short:
        raise Refused("", quoting.too_little(short.wanted, short.balance)) from short
    except ledger.OverCap as over:
        raise Refused("", quoting.over_cap(over.wanted, over.allowance)) from over
    except ledger.NotUsable as gone:
        raise Refused("", quoting.no_hours(project, partition)) from gone
    JobFile.objects.bulk_create(
        JobFile(job=job, kind=kind, path=upload.path, size=upload.size, sha256=upload.sha256, upload=upload)
        for kind, upload in [
            (JobFile.Kind.SCRIPT, script),
            *((JobFile.Kind.INPUT, upload) for upload in inputs),
        ]
    )
    association = association_for(by, partition.cluster, project)
    record(
        "job submitted",
        job,
        by=by,
        project=project,
        gpus=gpus,
        time_limit_minutes=time_limit_minutes,
        held=price.cost,
        **({"tasks": task_count} if job.is_sweep else {}),
    )
    if association.made_at is None:
        ring(tasks.provision, association.account_id)
    ring(tasks.dispatch, partition.cluster_id)
    return job


@transaction.atomic
def cancel(*, by: User, job: Job) -> None:
    """Say that the job shall end. One that was not sent yet is cancelled at once; else the scheduler has the word."""
    if by.pk != job.owner_id:
        check_permission(by, Permission.CANCEL_LAB_JOB, lab=job.project.lab)
    if job.is_final:
        raise Refused("", _("This job has already ended."))
    asked = Job.objects.filter(pk=job.pk, cancel_requested_at=None).update(
        cancel_requested_at=timezone.now(), cancel_requested_by=by
    )
    if asked:
        record("job cancel requested", job, by=by, project=job.project)
    job.refresh_from_db()
    if job.state == State.NEW and lifecycle.finish(job, State.CANCELLED, reason="CancelledBeforeSent"):
        return
    ring(tasks.cancel, job.cluster_id)


def want_log(*, by: User, job: Job, stream: str, task: int = 0) -> LogTail:
    """What is known of a log now; as long as somebody looks and the job lives, the worker reads on."""
    _check_readable(by, job)
    tail, _created = LogTail.objects.get_or_create(job=job, stream=stream, task=task)
    now = timezone.now()
    LogTail.objects.filter(pk=tail.pk).update(wanted_until=now + LOG_INTEREST)
    due = tail.read_at is None or now - tail.read_at >= LOG_PERIOD
    if job.scheduler_id and due and not tail.is_whole:
        ring(tasks.read_logs, job.pk)
    return tail


def want_estimate(
    *, by: User, project: Project, partition: Partition, gpus: int, time_limit_minutes: int
) -> StartEstimate | None:
    """When a job of this shape would start: what the scheduler said of late, and a question to it if that is old.

    None for somebody who has no account on the cluster yet: the scheduler answers only to people it knows.
    """
    check_permission(by, Permission.SUBMIT_JOB, lab=project.lab)
    known = Association.objects.usable().filter(
        account__user=by,
        account__cluster=partition.cluster_id,
        account__state=ClusterAccount.State.ACTIVE,
        project=project,
    )
    if not known.exists():
        return None
    estimate, new = StartEstimate.objects.get_or_create(
        user=by, project=project, partition=partition, gpus=gpus, time_limit_minutes=time_limit_minutes
    )
    now = timezone.now()
    if not new and now - estimate.asked_at >= ESTIMATE_PERIOD:
        StartEstimate.objects.filter(pk=estimate.pk).update(asked_at=now)
        estimate.asked_at, new = now, True
    if new:
        ring(tasks.estimate, estimate.pk)
    return estimate


def want_file(*, by: User, file: JobFile) -> Fetch:
    """Have a file of a job brought from the cluster. Asked again while one is on its way or fresh, it is the same."""
    _check_readable(by, file.job)
    now = timezone.now()
    fetch = (
        file.fetches.filter(expires_at__gt=now, asked_at__gte=file.modified_at or file.job.created_at)
        .exclude(state=Fetch.State.FAILED)
        .order_by("-asked_at")
        .first()
    )
    if fetch is None:
        fetch = Fetch.objects.create(job_file=file, asked_by=by)
        ring(tasks.bring_file, str(fetch.pk))
    return fetch


@transaction.atomic
def approve_account(*, by: User, account: ClusterAccount) -> None:
    """Let the cluster be asked for a POSIX user, where its centre wants to say so first."""
    check_permission(by, Permission.APPROVE_ACCOUNTS)
    waiting = ClusterAccount.objects.awaited().filter(pk=account.pk, approved_at=None)
    if not waiting.update(approved_at=timezone.now(), approved_by=by):
        raise Overtaken(_("Somebody was faster: this account is approved already, or not wanted any more."))
    record("cluster account approved", account, by=by, username=account.username, person=account.user_id)
    ring(tasks.provision, account.pk)


@transaction.atomic
def ask_for_check(*, by: User, cluster: Cluster) -> None:
    """Have a worker look anew, whether the cluster's usage can be measured."""
    check_permission(by, Permission.KEEP_COLLECTING)
    known, _new = Capability.objects.update_or_create(cluster=cluster, defaults={"wanted_at": timezone.now()})
    record("measurability to be checked", known, by=by, cluster=cluster.name)
    ring(tasks.check_cluster, cluster.pk)


def _check_readable(by: User, job: Job) -> None:
    if not job.files_readable_by(by):
        raise PermissionDenied(str(REFUSALS[Permission.READ_LAB_FILES]))


def _check_open(project: Project, partition: Partition) -> None:
    if project.state != Project.State.ACTIVE:
        raise Refused(
            "project",
            _("This project is %(state)s: no jobs can be submitted.")
            % {"state": project.get_state_display()},
        )
    if not partition.cluster.accepts_jobs:
        raise Refused("partition", _("This cluster takes no jobs through the portal."))


def _check_files(by: User, uploads: Sequence[Upload]) -> None:
    for upload in uploads:
        if upload.owner_id != by.pk or not upload.is_complete:
            raise Refused(
                "uploads", _("“%(path)s” has not arrived whole. Upload it again.") % {"path": upload.path}
            )
    folded = [upload.path.casefold() for upload in uploads]
    twice = next((upload.path for upload in uploads if folded.count(upload.path.casefold()) > 1), None)
    if twice is not None:
        raise Refused(
            "uploads", _("There are two files named “%(path)s”. Remove or rename one.") % {"path": twice}
        )
