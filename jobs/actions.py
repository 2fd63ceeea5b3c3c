"""What people do with jobs. One transaction each, with `by`; the worker is rung once it stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounting import ledger
from accounting.models import Allocation, AllocationState, Capability, Cluster, Partition
from accounting.units import hours, worst_case
from jobs import lifecycle, pressure, tasks
from jobs.identity import account_for
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


@dataclass(frozen=True)
class Quote:
    """What a job would cost at most and leave, in GPU-seconds, before it is submitted."""

    cost: int
    factor: Decimal
    allocation: Allocation | None
    balance: ledger.Balance | None
    problem: str = ""  # why it can't be submitted, in words
    allowance: ledger.Allowance | None = None  # of the person, where the PI set a cap

    @property
    def after(self) -> int:
        return (self.balance.available if self.balance else 0) - self.cost

    @property
    def left(self) -> int:
        """What this person can use of it now."""
        available = self.balance.available if self.balance else 0
        return min(available, self.allowance.left) if self.allowance else available


def quote(
    *,
    by: User,
    project: Project,
    partition: Partition,
    gpus: int,
    time_limit_minutes: int,
    task_count: int = 1,
) -> Quote:
    """The worst case of a job, against what the project and the person have left on that cluster. Reads only.

    It is paid by the allocation that ends first, of those that have enough for it.
    """
    now = timezone.now()
    factor = partition.factor_at(now)
    cost = worst_case(gpus, time_limit_minutes, factor, tasks=task_count)
    allocations = Allocation.objects.filter(project=project, cluster=partition.cluster_id)
    candidates = list(allocations.active(now.date()).order_by("end", "pk"))
    if not candidates:
        return Quote(cost, factor, None, None, _no_hours(list(allocations)))
    balances = ledger.balances(candidates)
    allowances = ledger.allowances(candidates, by)
    offers = [Quote(cost, factor, a, balances[a.pk], allowance=allowances.get(a.pk)) for a in candidates]
    best = next((offer for offer in offers if not _obstacle(offer)), None) or max(
        offers, key=lambda o: o.left
    )
    return replace(best, problem=_obstacle(best))


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
    token = token or new_token()
    User.objects.select_for_update(no_key=True).get(pk=by.pk)  # one submission of a person after the other
    earlier = Job.objects.filter(token=token, owner=by).first()
    if earlier is not None:
        return earlier
    check_accepted(by)
    _check_open(by, project, partition)
    pressure.check(by=by, project=project, cluster=partition.cluster)
    _check_files(by, [script, *inputs])
    offer = quote(
        by=by,
        project=project,
        partition=partition,
        gpus=gpus,
        time_limit_minutes=time_limit_minutes,
        task_count=task_count,
    )
    if offer.allocation is None or offer.problem:
        raise Refused("", offer.problem)
    job = Job.objects.create(
        token=token,
        owner=by,
        project=project,
        allocation=offer.allocation,
        cluster=partition.cluster,
        partition=partition,
        name=name,
        gpus=gpus,
        time_limit_minutes=time_limit_minutes,
        tasks=task_count,
        tasks_at_once=tasks_at_once,
    )
    try:
        ledger.hold(offer.allocation, offer.cost, reference=job.token, person=by)
    except ledger.NotEnough as short:
        raise Refused("", _too_little(short.wanted, short.balance)) from short
    except ledger.OverCap as over:
        raise Refused("", _over_cap(over.wanted, over.allowance)) from over
    except ledger.NotUsable as gone:
        raise Refused("", _no_hours([ledger.lock(offer.allocation)])) from gone
    JobFile.objects.bulk_create(
        JobFile(job=job, kind=kind, path=upload.path, size=upload.size, sha256=upload.sha256, upload=upload)
        for kind, upload in [
            (JobFile.Kind.SCRIPT, script),
            *((JobFile.Kind.INPUT, upload) for upload in inputs),
        ]
    )
    account = account_for(by, partition.cluster, project)
    record(
        "job submitted",
        job,
        by=by,
        project=project,
        gpus=gpus,
        time_limit_minutes=time_limit_minutes,
        held=offer.cost,
        **({"tasks": task_count} if job.is_sweep else {}),
    )
    if account.associations.filter(made_at=None).exists():
        ring(tasks.provision, account.pk)
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


def _check_open(by: User, project: Project, partition: Partition) -> None:
    if project.state != Project.State.ACTIVE:
        raise Refused(
            "project",
            _("This project is %(state)s: no jobs can be submitted.")
            % {"state": project.get_state_display()},
        )
    if not partition.cluster.accepts_jobs:
        raise Refused("partition", _("This cluster takes no jobs through the portal."))
    unfinished = Job.objects.filter(owner=by).unfinished().count()
    if unfinished >= settings.JOBS_IN_FLIGHT_PER_PERSON:
        raise Refused(
            "",
            ngettext(
                "You have %(count)s unfinished job, the most that one person may have. Wait until it has ended.",
                "You have %(count)s unfinished jobs, the most that one person may have. Wait until some have ended.",
                unfinished,
            )
            % {"count": unfinished},
        )


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


def _obstacle(offer: Quote) -> str:
    """Why this allocation can't pay for the job, in words; empty if it can."""
    if offer.balance and offer.cost > offer.balance.available:
        return _too_little(offer.cost, offer.balance)
    if offer.allowance and offer.cost > offer.allowance.left:
        return _over_cap(offer.cost, offer.allowance)
    return ""


def _no_hours(allocations: Sequence[Allocation]) -> str:
    """Why none of the project's allocations on the cluster can be used today."""
    today = timezone.now().date()
    for allocation in allocations:
        if allocation.state_on(today) == AllocationState.SUSPENDED:
            return _(
                "The centre has suspended this project's hours on this cluster: “%(reason)s”. "
                "Jobs that were submitted before go on."
            ) % {"reason": allocation.suspension_reason}
    return _("This project has no GPU-hours on this cluster now. Its PI can ask for some.")


def _too_little(wanted: int, balance: ledger.Balance) -> str:
    return _(
        "This job could use up to %(wanted)s GPU-hours, but only %(available)s are available "
        "(%(held)s more are held for unfinished jobs). Ask for fewer GPUs or less time, or ask your PI for more hours."
    ) % {"wanted": hours(wanted), "available": hours(max(balance.available, 0)), "held": hours(balance.held)}


def _over_cap(wanted: int, allowance: ledger.Allowance) -> str:
    return _(
        "This job could use up to %(wanted)s GPU-hours, but of the %(cap)s that your PI lets you use, %(left)s are left "
        "(%(used)s are used, %(held)s held for your unfinished jobs). Ask for fewer GPUs or less time, or ask your PI."
    ) % {
        "wanted": hours(wanted),
        "cap": hours(allowance.cap),
        "left": hours(max(allowance.left, 0)),
        "used": hours(allowance.used),
        "held": hours(allowance.held),
    }
