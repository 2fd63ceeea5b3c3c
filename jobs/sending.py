"""Worker side: one person's waiting jobs on their way: claim them, bring their files, submit, act on each answer.

Exactly once. A job is claimed for one worker; its token names its folder and the scheduler's job; the gateway submits a
token at most once. Jobs with small files travel together, files and all, in one remote call; one with large files goes
by itself, after them. Whatever surely was not sent is given back to wait; an answer that got lost leaves the job
"submitting", and `dispatch.resolve_unclear` finds out.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from django.utils import timezone

from jobs import lifecycle, setting_aside
from jobs.clusters import Door
from jobs.logins import GatewayError
from jobs.models import ClusterAccount, Job, JobFile, StartEstimate
from jobs.rights import why_each_ended
from jobs.schedulers import AnswerError
from jobs.spec import ClusterError, JobSpec, SmallFile, Submission, Verdict
from jobs.ssh import Refused
from jobs.states import State
from portal.words import filesize

log = logging.getLogger(__name__)

BATCH = 100  # jobs in one remote call: so many are unclear if its answer gets lost
SMALL = 256 << 10  # bytes of all files of a job that travel inside the call
LOAD = 4 << 20  # bytes of files in one call: with the rest of it, below what the gateway reads
WORTH_ASKING = 16 << 20  # bytes of files, from which the room for them is asked after

Files = Mapping[int, Sequence[JobFile]]  # by the job's pk


class _NotLetIn(Exception):
    """This person alone: the cluster lets others in."""


class _UploadGone(Exception):
    """A file that was to be sent is not here any more."""


def send(door: Door, username: str, jobs: Sequence[Job], budgets: Mapping[int, str]) -> None:
    """All jobs of one person. Raises ClusterError if the cluster is in trouble; a login that is refused is theirs alone."""
    files = _files_of(jobs)
    for batch in batches(jobs, files):
        try:
            _send(door, username, batch, files, budgets)
        except _NotLetIn as refusal:
            log.warning("cluster %s: %s", door.site.name, refusal)
            return


def batches(jobs: Sequence[Job], files: Files) -> Iterator[list[Job]]:
    """Small ones together, as far as one call carries them; then those with large files, one by one."""
    sizes = {job.pk: sum(file.size for file in files[job.pk]) for job in jobs}
    batch: list[Job] = []
    load = 0
    for job in jobs:
        if sizes[job.pk] > SMALL:
            continue
        if batch and (len(batch) == BATCH or load + sizes[job.pk] > LOAD):
            yield batch
            batch, load = [], 0
        batch.append(job)
        load += sizes[job.pk]
    if batch:
        yield batch
    yield from ([job] for job in jobs if sizes[job.pk] > SMALL)


def _files_of(jobs: Sequence[Job]) -> Files:
    files: dict[int, list[JobFile]] = defaultdict(list)
    there = JobFile.objects.filter(job__in=jobs).exclude(kind=JobFile.Kind.OUTPUT)
    for file in there.select_related("upload"):
        files[file.job_id].append(file)
    return files


def _send(door: Door, username: str, jobs: Sequence[Job], files: Files, budgets: Mapping[int, str]) -> None:
    claimed = lifecycle.claim(jobs)
    end_unentitled([job for job in jobs if job not in claimed])
    try:
        specs = [spec for job in claimed if (spec := _packed(door, username, job, files[job.pk], budgets))]
        answers = door.submit(username, specs) if specs else []
    except ClusterError as error:  # surely nothing was sent
        mine = [job for job in claimed if job.state == State.SUBMITTING]
        if isinstance(error, Refused) and _others_are_let_in(door):
            _set_back(door, username, mine, error)
            raise _NotLetIn(str(error)) from None
        for job in mine:
            lifecycle.put_back(job, "ClusterUnreachable", str(error))
        raise
    _take(claimed, answers)


def end_unentitled(jobs: Sequence[Job]) -> bool:
    """End those that may not run any more: people leave, and projects close, at any moment. True if there was one."""
    ended = why_each_ended(jobs) if jobs else {}
    for job in jobs:
        if job.pk in ended:
            lifecycle.finish(job, State.FAILED, reason=ended[job.pk])
    return bool(ended)


def _others_are_let_in(door: Door) -> bool:
    """Whether a refused login says something of the person, and not of the portal's certificates."""
    try:
        door.check(door.site.collector)
    except ClusterError:
        return False
    return True


def _set_back(door: Door, username: str, jobs: Sequence[Job], refusal: Refused) -> None:
    accounts = ClusterAccount.objects.filter(cluster__name=door.site.name, username=username)
    accounts.update(message=str(refusal)[:300])
    for job in jobs:
        setting_aside.try_less(job, "LoginRefused", str(refusal))


# ── Files ────────────────────────────────────────────────────────────────────


def _packed(
    door: Door, username: str, job: Job, files: Sequence[JobFile], budgets: Mapping[int, str]
) -> JobSpec | None:
    """What the scheduler gets, with the small files; the large ones are brought. None: not this time."""
    try:
        unsent = [(file, _stored_at(file)) for file in files if not file.sent_at]
    except _UploadGone as gone:
        lifecycle.finish(job, State.FAILED, reason="UploadGone", message=str(gone))
        return None
    script = next(file.path for file in files if file.kind == JobFile.Kind.SCRIPT)
    small: tuple[SmallFile, ...] = ()
    if sum(file.size for file in files) <= SMALL:
        small = tuple(_small(file, stored_at) for file, stored_at in unsent)
    elif not arrived(door, username, job, unsent) or end_unentitled([job]):  # they may have taken long
        return None
    return spec_of(
        job,
        token=job.token,
        script=script,
        qos=budgets[job.pk],
        files=small,
        tasks=job.tasks,
        at_once=job.tasks_at_once,
    )


def _stored_at(file: JobFile) -> Path:
    if file.upload is None or not file.upload.stored_at.exists():
        raise _UploadGone(file.path)
    return file.upload.stored_at


def _small(file: JobFile, stored_at: Path) -> SmallFile:
    executable = file.kind == JobFile.Kind.SCRIPT
    return SmallFile(file.path, stored_at.read_bytes(), file.sha256, executable)


def arrived(door: Door, username: str, job: Job, files: Sequence[tuple[JobFile, Path]]) -> bool:
    """Bring files into the job's folder, each resumed where an earlier try broke off. False: not this time."""
    try:
        if not _has_room(door, username, job, sum(file.size for file, _stored_at in files)):
            return False
        door.prepare(username, job.token)
        for file, stored_at in files:
            _bring(door, username, job, file, stored_at)
    except GatewayError:
        raise
    except AnswerError as refusal:  # a full disk, say
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


def _bring(door: Door, username: str, job: Job, file: JobFile, stored_at: Path) -> None:
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


# ── Answers ──────────────────────────────────────────────────────────────────


def _take(jobs: Sequence[Job], answers: Sequence[Submission]) -> None:
    """Act on what was said of each; those that were accepted all at once."""
    by_token = {job.token: job for job in jobs}
    accepted = {
        by_token[one.token].pk: one.scheduler_id for one in answers if one.verdict is Verdict.ACCEPTED
    }
    if accepted:
        lifecycle.mark_all_queued(accepted)
        JobFile.objects.filter(job__in=accepted, sent_at=None).exclude(kind=JobFile.Kind.OUTPUT).update(
            sent_at=timezone.now()
        )
    for answer in answers:
        job = by_token[answer.token]
        log.info("job %s on %s: %s %s", job.pk, job.cluster_id, answer.verdict.value, answer.scheduler_id)
        if answer.verdict is not Verdict.ACCEPTED:
            _take_other(job, answer)


def _take_other(job: Job, answer: Submission) -> None:
    if answer.verdict is Verdict.REFUSED:
        lifecycle.finish(job, State.FAILED, reason="RefusedByScheduler", message=answer.message)
    elif answer.verdict is Verdict.UNREADY:
        setting_aside.try_less(job, "FileRefused", answer.message)
    elif answer.verdict is Verdict.RETRY:
        lifecycle.put_back(job, "SchedulerBusy", answer.message)
    else:
        lifecycle.note_unclear(job, answer.message)


# ── What the scheduler gets ──────────────────────────────────────────────────


def spec_of(
    wanted: Job | StartEstimate,
    *,
    token: str = "",
    script: str = "",
    qos: str = "",
    files: tuple[SmallFile, ...] = (),
    tasks: int = 1,
    at_once: int | None = None,
) -> JobSpec:
    """Every limit is the portal's; nothing comes from the member's script."""
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
        files=files,
        tasks=tasks,
        at_once=at_once,
    )
