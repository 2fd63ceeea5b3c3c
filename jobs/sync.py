"""Worker side: ask a cluster once, advance its jobs, hand what it says of finished runs to the accounting.

One poller per cluster is elected by a lease in the database; one remote call per cycle answers for all jobs.
Jobs only move forward (except running → queued, a requeue). Not being in the queue is not being finished: only a
record of the accounting ends a job. A bad answer changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from accounting import usage
from accounting.models import Cluster, Collection
from accounting.runs import Run
from jobs import adopting, health, last_word, lifecycle, maintenance, probing, repricing
from jobs.attributing import attribution, is_its
from jobs.clusters import Poll, connect_to
from jobs.dispatch import CLOCKS
from jobs.models import ClusterHealth, Job
from jobs.spec import ClusterError, QueueEntry
from jobs.states import FINAL, State

log = logging.getLogger(__name__)

PERIOD = timedelta(seconds=2)
LEASE = timedelta(seconds=90)  # longer than the deadline of one remote call
OVERLAP = timedelta(minutes=10)  # windows overlap: the accounting lags the queue
RECENT = timedelta(hours=48)
NOT_MEASURED = "The usage of this cluster can't be measured: its records are not read."
UNSEEN = timedelta(
    seconds=30
)  # a job that the queue hasn't shown for so long: its record is looked for from its start

WAITING_WORDS = frozenset(
    {"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD"}
)
HOLDING_WORDS = frozenset(
    {"RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING"}
)
ENDS = {"COMPLETED": State.SUCCEEDED, "CANCELLED": State.CANCELLED, "REVOKED": State.CANCELLED}


def clusters() -> list[int]:
    """Those that may be asked now."""
    return list(maintenance.clusters_at_work().values_list("pk", flat=True))


def due() -> list[int]:
    """Clusters that are to be asked now: nobody asks them, and the last answer is old enough."""
    busy = ClusterHealth.objects.exclude(_may_be_asked(timezone.now()))
    return [pk for pk in clusters() if pk not in set(busy.values_list("cluster_id", flat=True))]


def _may_be_asked(now: datetime) -> Q:
    """Nobody asks it, its breaker lets a trial through, and the last question is old enough."""
    free = Q(lease_until=None) | Q(lease_until__lte=now)
    tried = Q(try_again_at=None) | Q(try_again_at__lte=now)
    return free & tried & (Q(asked_at=None) | Q(asked_at__lte=now - PERIOD * 0.9))


def poll_when_due(cluster_id: int) -> list[int]:
    """The same, but at most once in a period, however often it is rung: two beats ring twice."""
    return _poll_as_elected(cluster_id, _may_be_asked(timezone.now()))


def poll(cluster_id: int) -> list[int]:
    """One cycle now: queue and recent records in one remote call. Returns the jobs that became final."""
    now = timezone.now()
    return _poll_as_elected(cluster_id, Q(lease_until=None) | Q(lease_until__lte=now))


def _poll_as_elected(cluster_id: int, free: Q) -> list[int]:
    cluster = Cluster.objects.get(pk=cluster_id)
    lease = None if maintenance.lasts(cluster_id) else _elected(cluster, free)
    if lease is None:
        return []
    try:
        return _poll(cluster)
    except ClusterError as error:
        log.warning("cluster %s: no good answer: %s", cluster.name, error)
        health.failed(cluster, error)
        return []
    finally:
        ClusterHealth.objects.filter(cluster=cluster, lease_until=lease).update(lease_until=None)


def _ask(cluster: Cluster, since: datetime) -> Poll:
    with connect_to(cluster.name) as door:
        return door.poll(since, timezone.now() + CLOCKS)


def _elected(cluster: Cluster, free: Q) -> datetime | None:
    """The lease, if this worker is the one that asks now: one guarded UPDATE, which also looks whether it is time."""
    now = timezone.now()
    health.of(cluster.pk)
    ours = ClusterHealth.objects.filter(free, cluster=cluster).update(lease_until=now + LEASE, asked_at=now)
    return now + LEASE if ours else None


def _poll(cluster: Cluster) -> list[int]:
    measured = probing.is_measured(cluster)
    jobs = {job.scheduler_id: job for job in Job.objects.on_cluster(cluster)}
    answer = _ask(cluster, _since(cluster, jobs.values()))
    adopted, trouble = _adopt(cluster, answer, jobs.values())
    jobs |= {job.scheduler_id: job for job in adopted}
    finished: list[int] = []
    if measured and answer.records is not None:
        usage.quarantine(cluster, answer.records.rejected)
        finished = _record(cluster, jobs, answer.queue, answer.records.runs, answer.asked_at)
        if not trouble:
            Collection.objects.update_or_create(
                cluster=cluster, defaults={"complete_until": answer.asked_at, "updated_at": timezone.now()}
            )
    _advance(jobs, answer.queue)
    repricing.follow(
        cluster,
        jobs,
        [entry for entry in answer.queue if entry.state in WAITING_WORDS | HOLDING_WORDS],
        answer.records.runs if answer.records else (),
    )
    waiting = sum(entry.state in WAITING_WORDS for entry in answer.queue)
    ClusterHealth.objects.filter(cluster=cluster).update(queue_length=waiting, free_gpus=answer.free_gpus)
    trouble = str(answer.trouble or trouble) if measured else NOT_MEASURED
    if trouble:
        log.warning("cluster %s: its accounting gave no good answer: %s", cluster.name, trouble)
    health.answered(cluster, problem=trouble)
    return finished


def _adopt(cluster: Cluster, answer: Poll, jobs: Iterable[Job]) -> tuple[list[Job], str]:
    """What stands there without our knowing; and why the accounting could not say so, if it could not."""
    watermark = Collection.objects.filter(cluster=cluster).values_list("complete_until", flat=True).first()
    try:
        return adopting.adopt(cluster, answer, watermark=watermark, followed={job.token for job in jobs}), ""
    except ClusterError as error:
        return [], str(error)


def _since(cluster: Cluster, jobs: Iterable[Job]) -> datetime:
    """From when on records are asked for: the watermark, or earlier where a job left the queue and has no record yet."""
    now = timezone.now()
    watermark = Collection.objects.filter(cluster=cluster).first()
    begin = watermark.complete_until - OVERLAP if watermark else now - RECENT
    unseen = [job.created_at - CLOCKS for job in jobs if job.confirmed_at and job.confirmed_at < now - UNSEEN]
    return min([begin, *unseen])


@transaction.atomic
def _record(
    cluster: Cluster, jobs: dict[str, Job], queue: Sequence[QueueEntry], runs: Sequence[Run], as_of: datetime
) -> list[int]:
    """Usage, charge, release and final state of every run that ended: one transaction.

    Open runs are left to `jobs.collecting`: their figure changes with every second and would be written at every cycle.
    """
    live = {entry.job_id_raw for entry in queue if entry.state in WAITING_WORDS | HOLDING_WORDS}
    usage.record_runs(
        [run for run in runs if run.end is not None],
        cluster=cluster,
        as_of=as_of,
        in_queue=live,
        attribute=attribution(cluster, runs),
    )
    finished = []
    last, shown = last_word.last_runs(runs), last_word.by_number(queue)
    for job_id, job in jobs.items():
        run = last.get(job_id)
        if run is None or run.job_id_raw in live or not is_its(job, run):
            continue
        if not last_word.is_last(run, shown.get(run.job_id_raw), as_of):
            continue
        if lifecycle.finish(
            job,
            ENDS.get(run.state, State.FAILED),
            reason=run.state,
            started_at=run.start,
            ended_at=run.end,
            exit_code=run.exit_code,
            confirmed_at=as_of,
        ):
            finished.append(job.pk)
    return finished


def _advance(jobs: dict[str, Job], queue: Sequence[QueueEntry]) -> None:
    """Move the jobs that the queue shows; note why they wait and when they may start."""
    now = timezone.now()
    seen = []
    for entry in queue:
        job = jobs.get(entry.scheduler_id)
        if job is None or job.token != entry.token or job.state in FINAL:
            continue
        seen.append(job.pk)
        if entry.state in HOLDING_WORDS:
            if job.state == State.QUEUED:
                lifecycle.mark_running(job, entry.started_at, entry.nodes)
        elif entry.state in WAITING_WORDS:
            _note_waiting(job, entry)
    Job.objects.filter(pk__in=seen).update(confirmed_at=now)


def _note_waiting(job: Job, entry: QueueEntry) -> None:
    if job.state == State.RUNNING:
        lifecycle.mark_requeued(job, entry.reason)
    if (job.reason, job.expected_start_at) != (entry.reason, entry.started_at):
        Job.objects.filter(pk=job.pk, state=State.QUEUED).update(
            reason=entry.reason, expected_start_at=entry.started_at
        )
