"""Worker side: what comes back from a job's folder — logs as they grow, the list of results, a file that somebody wants."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import timedelta
from typing import BinaryIO

from django.utils import timezone
from django.utils.translation import gettext_noop

from jobs import health
from jobs.clusters import Door, connect_to
from jobs.logtext import clean, whole_characters
from jobs.models import ClusterAccount, Fetch, Job, JobFile, LogTail, StartEstimate
from jobs.schedulers import AnswerError
from jobs.spec import ClusterError
from jobs.uploads import discard_expired

log = logging.getLogger(__name__)

LOGS = {"stdout": "stdout.log", "stderr": "stderr.log"}  # as the gateway names them
KEPT = 256 * 1024  # characters of a log that the page shows
ESTIMATES_KEPT = timedelta(hours=1)
PROGRESS = 8 << 20  # bytes between two notes of how far a fetch is


def log_name(job: Job, stream: str, task: int) -> str:
    """Of a sweep, each task has a log of its own: stdout-3.log."""
    name = LOGS[stream]
    return name.replace(".", f"-{task}.") if job.is_sweep else name


def read_logs(job_id: int) -> None:
    """Read on in the logs of a job that somebody looks at: only the bytes that are new."""
    job = Job.objects.select_related("cluster").get(pk=job_id)
    wanted = list(job.log_tails.filter(wanted_until__gt=timezone.now()))
    if not wanted or not health.may_try(job.cluster_id):
        return
    try:
        with connect_to(job.cluster.name) as door:
            for tail in wanted:
                _read_on(door, job, tail)
    except ClusterError as error:
        log.warning("job %s: its log can't be read: %s", job_id, error)


def list_outputs(job_id: int) -> None:
    """Note what a finished job left in its folder, beside the files that were sent."""
    job = Job.objects.select_related("cluster").get(pk=job_id)
    if not health.may_try(job.cluster_id):
        return
    try:
        with connect_to(job.cluster.name) as door:
            listing = door.list_files(_username(job), job.token)
    except AnswerError as error:  # no folder, say: nothing will come of asking again
        log.warning("job %s: its files can't be listed: %s", job_id, error)
        listing = None
    except ClusterError as error:
        log.warning("job %s: its files can't be listed: %s", job_id, error)
        return
    sent = dict(job.files.exclude(kind=JobFile.Kind.OUTPUT).values_list("path", "size"))
    JobFile.objects.bulk_create(
        [
            JobFile(
                job=job,
                kind=JobFile.Kind.OUTPUT,
                path=entry.path,
                size=entry.size,
                modified_at=entry.modified_at,
            )
            for entry in (listing.files if listing else ())
            if sent.get(entry.path) != entry.size
        ],
        update_conflicts=True,
        unique_fields=["job", "kind", "path"],
        update_fields=["size", "modified_at"],
    )
    Job.objects.filter(pk=job.pk).update(outputs_listed_at=timezone.now())


def bring(fetch_id: str) -> None:
    """Bring one file from the cluster, whole, to where the web can serve it."""
    fetch = (
        Fetch.objects.select_related("job_file__job__cluster")
        .filter(pk=fetch_id, state=Fetch.State.WANTED)
        .first()
    )
    if fetch is None or not health.may_try(fetch.job_file.job.cluster_id):
        return
    job, part = fetch.job_file.job, fetch.stored_at.with_suffix(".part")
    part.parent.mkdir(parents=True, exist_ok=True)
    try:
        with connect_to(job.cluster.name) as door, part.open("wb") as target:
            size = _save(door.download(_username(job), job.token, fetch.job_file.path), target, fetch)
    except ClusterError as error:
        log.warning("job %s: file %s can't be fetched: %s", job.pk, fetch.pk, error)
        part.unlink(missing_ok=True)
        if not error.transient:
            Fetch.objects.filter(pk=fetch.pk).update(state=Fetch.State.FAILED, message=str(error)[:300])
        return
    part.rename(fetch.stored_at)
    Fetch.objects.filter(pk=fetch.pk).update(state=Fetch.State.READY, received=size)


def clear_old() -> None:
    """Remove fetched files and unsent uploads whose time is over."""
    now = timezone.now()
    for fetch in Fetch.objects.filter(expires_at__lt=now):
        fetch.stored_at.unlink(missing_ok=True)
        fetch.delete()
    StartEstimate.objects.filter(asked_at__lt=now - ESTIMATES_KEPT).delete()
    discard_expired()


def _save(chunks: Iterable[bytes], target: BinaryIO, fetch: Fetch) -> int:
    noted = 0
    for chunk in chunks:
        target.write(chunk)
        if target.tell() - noted >= PROGRESS:
            noted = target.tell()
            Fetch.objects.filter(pk=fetch.pk).update(received=noted)
    return target.tell()


def _username(job: Job) -> str:
    """As whom its files are reached. Nobody logs in as somebody who was shut out: AnswerError says so."""
    account = ClusterAccount.objects.get(user=job.owner_id, cluster=job.cluster)
    if account.state == ClusterAccount.State.DISABLED:
        raise AnswerError(
            gettext_noop(
                "The account of whoever ran this job is switched off. The centre can hand over its files."
            ),
            transient=False,
        )
    return account.username


def _read_on(door: Door, job: Job, tail: LogTail) -> None:
    beginning = tail.offset or -1  # the first look begins near the log's end
    now = timezone.now()
    piece = door.tail(_username(job), job.token, log_name(job, tail.stream, tail.task), beginning)
    data = whole_characters(piece.data)
    at_end = piece.offset + len(piece.data) >= (piece.size or 0)
    LogTail.objects.filter(pk=tail.pk, offset=tail.offset).update(
        text=(tail.text + clean(data))[-KEPT:],
        offset=piece.offset + len(data),
        read_at=now if at_end else None,
    )
