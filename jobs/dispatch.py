"""Worker side: send waiting jobs, look up unclear ones, cancel.

Exactly once. A job is claimed by a guarded UPDATE; its token names its folder and the scheduler's job; the gateway
submits a token at most once. An answer that got lost leaves the job "submitting": it is looked up in the queue and
the accounting by its token, and only when both answered well and knew nothing, twice, a grace time apart, it is
sent again.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

from django.db.models import Q
from django.utils import timezone

from accounting.models import Cluster
from jobs import fencing, health, lifecycle, setting_aside
from jobs.clusters import Door, FileRefused, connect_to
from jobs.models import MAX_ATTEMPTS, ClusterAccount, Job, JobFile, StartEstimate
from jobs.rights import why_ended
from jobs.spec import ClusterError, JobSpec, Submission, Verdict
from jobs.states import State
from portal.words import filesize

log = logging.getLogger(__name__)

STALE = timedelta(seconds=60)  # a claim without a sign of life for so long: its worker is dead
GRACE = timedelta(seconds=20)  # the scheduler's accounting lags its queue by less
CLOCKS = timedelta(minutes=5)  # by so much may the cluster's clock differ from ours
WORTH_ASKING = 16 << 20  # bytes of files, from which the room for them is asked after
BATCH = 100  # jobs of one person in one remote call


def send_waiting(cluster_id: int) -> None:
    """Send every job that waits for this cluster: one remote call per person and batch."""
    if not health.may_try(cluster_id):
        return
    cluster = Cluster.objects.get(pk=cluster_id)
    _drop_unwanted(cluster)
    waiting = _waiting(cluster)
    if not waiting:
        return
    with connect_to(cluster.name) as door:
        try:
            budgets = fencing.budgets_for(door, cluster, [job for jobs in waiting.values() for job in jobs])
        except ClusterError as error:
            _report(cluster, "looking at budgets", error)
            return
        for account, theirs in waiting.items():
            jobs = [job for job in theirs if job.pk in budgets]
            for at in range(0, len(jobs), BATCH):
                try:
                    _send(door, account.username, jobs[at : at + BATCH], budgets)
                except ClusterError as error:
                    _report(cluster, f"sending for {account.username}", error)
                    return


def resolve_unclear(cluster_id: int) -> None:
    """Find out what became of jobs whose worker died or whose answer was lost."""
    if not health.may_try(cluster_id):
        return
    cluster = Cluster.objects.get(pk=cluster_id)
    stale = Job.objects.filter(cluster=cluster, state=State.SUBMITTING, claimed_at__lt=timezone.now() - STALE)
    with connect_to(cluster.name) as door:
        for account, jobs in _by_account(stale, cluster).items():
            try:
                since = min(job.created_at for job in jobs) - CLOCKS
                asker = (
                    account.username if account.is_active else door.site.collector
                )  # nobody logs in as them
                found = door.find(asker, [job.token for job in jobs], since)
                for job in jobs:
                    _settle(door, account, job, found.get(job.token))
            except ClusterError as error:
                _report(cluster, f"looking up jobs of {account.username}", error)
                return


def cancel_wanted(cluster_id: int) -> None:
    """Tell the scheduler of every wish to cancel. The job's state changes when the scheduler says so."""
    if not health.may_try(cluster_id):
        return
    cluster = Cluster.objects.get(pk=cluster_id)
    wanted = Job.objects.on_cluster(cluster).filter(cancel_requested_at__isnull=False)
    with connect_to(cluster.name) as door:
        for account, jobs in _by_account(wanted, cluster).items():
            if not account.is_active:
                continue  # whoever was shut out: `offboarding` ends their jobs, as the admin
            try:
                door.cancel(account.username, [(job.token, job.scheduler_id) for job in jobs])
            except ClusterError as error:
                _report(cluster, f"cancelling for {account.username}", error)
                return


def _report(cluster: Cluster, doing: str, error: Exception) -> None:
    log.warning("cluster %s: %s failed: %s", cluster.name, doing, error)
    health.failed(cluster, error)


def _drop_unwanted(cluster: Cluster) -> None:
    """Jobs that were to be cancelled while a try to send them came back."""
    for job in Job.objects.filter(cluster=cluster, state=State.NEW, cancel_requested_at__isnull=False):
        lifecycle.finish(job, State.CANCELLED, reason="CancelledBeforeSent")


def _waiting(cluster: Cluster) -> dict[ClusterAccount, list[Job]]:
    """The jobs that can be sent now, by the POSIX user that they run as."""
    now = timezone.now()
    jobs = (
        Job.objects.filter(cluster=cluster, state=State.NEW, cancel_requested_at=None)
        .filter(Q(not_before=None) | Q(not_before__lte=now), attempts__lt=MAX_ATTEMPTS)
        .select_related("owner", "project__lab", "partition")
        .order_by("pk")
    )
    associated = {
        (account.user_id, project_id): account
        for account in ClusterAccount.objects.filter(cluster=cluster, state=ClusterAccount.State.ACTIVE)
        for project_id in account.associations.usable().values_list("project_id", flat=True)
    }
    ready: dict[ClusterAccount, list[Job]] = defaultdict(list)
    for job in jobs:
        account = associated.get((job.owner_id, job.project_id))
        if account is not None:
            ready[account].append(job)
    return ready


def _by_account(jobs: Iterable[Job], cluster: Cluster) -> dict[ClusterAccount, list[Job]]:
    accounts = {account.user_id: account for account in ClusterAccount.objects.filter(cluster=cluster)}
    grouped: dict[ClusterAccount, list[Job]] = defaultdict(list)
    for job in jobs:
        grouped[accounts[job.owner_id]].append(job)
    return grouped


def _send(door: Door, username: str, jobs: Sequence[Job], budgets: Mapping[int, str]) -> None:
    claimed = [job for job in jobs if _may_still(job) and lifecycle.mark_submitting(job)]
    try:
        arrived = [job for job in claimed if _files_arrived(door, username, job)]
        ready = [job for job in arrived if _may_still(job)]  # files may have taken long
        answers = (
            door.submit(username, [_spec_of_job(job, budgets[job.pk]) for job in ready]) if ready else []
        )
    except ClusterError as error:  # surely nothing was sent
        for job in claimed:
            if job.state == State.SUBMITTING:
                lifecycle.put_back(job, "ClusterUnreachable", str(error))
        raise
    by_token = {job.token: job for job in ready}
    for answer in answers:
        _take(by_token[answer.token], answer)


def _may_still(job: Job) -> bool:
    """Whether the right to run it holds, as the database says now: people leave, and projects close, at any moment."""
    reason = why_ended(job)
    if not reason:
        return True
    lifecycle.finish(job, State.FAILED, reason=reason)
    return False


def _files_arrived(door: Door, username: str, job: Job) -> bool:
    """Bring the job's files into its folder, each resumed where an earlier try broke off. False: not this time."""
    door.prepare(username, job.token)
    files = list(job.files.filter(sent_at=None).exclude(kind=JobFile.Kind.OUTPUT).select_related("upload"))
    if not _has_room(door, username, job, sum(file.size for file in files)):
        return False
    for file in files:
        if file.upload is None or not file.upload.stored_at.exists():
            lifecycle.finish(job, State.FAILED, reason="UploadGone", message=file.path)
            return False
        try:
            _send_file(door, username, job, file, file.upload.stored_at)
        except FileRefused as refusal:  # a full disk, say
            setting_aside.try_less(job, "FileRefused", str(refusal))
            return False
    return True


def _has_room(door: Door, username: str, job: Job, size: int) -> bool:
    """Whether `size` bytes fit on the cluster's disk. Filling it to the brim would break jobs that run there.

    What is small isn't worth the question: the cluster refuses it by itself when the disk is full.
    """
    if size < WORTH_ASKING:
        return True
    free = door.free_space(username)
    if size <= free:
        return True
    setting_aside.try_less(job, "DiskFull", f"{filesize(free)} / {filesize(size)}")
    return False


def _send_file(door: Door, username: str, job: Job, file: JobFile, stored_at: Path) -> None:
    with stored_at.open("rb") as content:
        door.upload(
            username,
            job.token,
            file.path,
            content,
            file.size,
            file.sha256,
            executable=file.kind == JobFile.Kind.SCRIPT,
            progress=lambda _sent: lifecycle.still_sending(job),
        )
    JobFile.objects.filter(pk=file.pk).update(sent_at=timezone.now())


def _take(job: Job, answer: Submission) -> None:
    """Act on one of the three answers (and on "surely not, try later")."""
    log.info("job %s on %s: %s %s", job.pk, job.cluster_id, answer.verdict.value, answer.scheduler_id)
    if answer.verdict is Verdict.ACCEPTED:
        lifecycle.mark_queued(job, answer.scheduler_id)
    elif answer.verdict is Verdict.REFUSED:
        lifecycle.finish(job, State.FAILED, reason="RefusedByScheduler", message=answer.message)
    elif answer.verdict is Verdict.RETRY:
        lifecycle.put_back(job, "SchedulerBusy", answer.message)
    else:
        lifecycle.note_unclear(job, answer.message)


def _settle(door: Door, account: ClusterAccount, job: Job, scheduler_id: str | None) -> None:
    """Found: it is queued. Nobody knows it, now and a grace time ago: surely not there, send it again."""
    now = timezone.now()
    if scheduler_id:
        lifecycle.mark_queued(job, scheduler_id)
    elif job.looked_up_at is None:
        Job.objects.filter(pk=job.pk, looked_up_at=None).update(looked_up_at=now)
    elif job.looked_up_at < now - GRACE and not account.is_active:
        lifecycle.finish(job, State.CANCELLED, reason=why_ended(job) or "NoLongerMember")
    elif job.looked_up_at < now - GRACE:
        door.prepare(account.username, job.token)  # its worker may have died before there was a folder
        door.forget(account.username, job.token)
        lifecycle.put_back(job, "NotSent")


def spec_of(wanted: Job | StartEstimate, *, token: str = "", script: str = "", qos: str = "") -> JobSpec:
    """What the scheduler gets. Every limit is the portal's; nothing comes from the member's script."""
    partition = wanted.partition
    return JobSpec(
        token=token,
        account=wanted.project.account,
        partition=partition.name,
        gpus=wanted.gpus,
        gpu_type=partition.gpu_type,
        nodes=partition.nodes_for(wanted.gpus),
        cpus_per_gpu=partition.cpus_per_gpu,
        memory_per_gpu_mib=partition.memory_per_gpu_mib,
        time_limit_minutes=wanted.time_limit_minutes,
        script=script,
        qos=qos,
    )


def _spec_of_job(job: Job, qos: str) -> JobSpec:
    return spec_of(job, token=job.token, script=job.files.get(kind=JobFile.Kind.SCRIPT).path, qos=qos)
