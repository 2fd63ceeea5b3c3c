"""Worker side: ask a cluster once, advance its jobs, hand what it says of finished runs to the accounting.

One poller per cluster is elected by a lease in the database; one remote call per cycle answers for all jobs.
Jobs only move forward (except running → queued, a requeue). Not being in the queue is not being finished: only a
record of the accounting ends a job. A bad answer changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from accounting import bulk, usage
from accounting.models import Cluster, Collection
from accounting.runs import Run
from jobs import adopting, array_tasks, health, last_word, lifecycle, maintenance, pace, probing, repricing
from jobs.array_tasks import News
from jobs.attributing import attribution, is_its
from jobs.clusters import Poll, connect_to
from jobs.dispatch import CLOCKS
from jobs.models import ClusterHealth, Job
from jobs.spec import ClusterError, QueueEntry
from jobs.states import ENDS, FINAL, HOLDING_WORDS, WAITING_WORDS, State, TaskState

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=90)  # longer than the deadline of one remote call
OVERLAP = timedelta(minutes=10)  # windows overlap: the accounting lags the queue
RECENT = timedelta(hours=48)
NOT_MEASURED = "The usage of this cluster can't be measured: its records are not read."
CONFIRMED = timedelta(seconds=10)  # that a job is still as it was is not written down more often
UNSEEN = timedelta(
    seconds=30
)  # a job that the queue hasn't shown for so long: its record is looked for from its start

# Columns of a job that no answer is compared with: to load them for ten thousand jobs takes a third of all the time.
UNASKED = (
    *("name", "message", "exit_code", "nodes", "attempts", "not_before", "outputs_listed_at", "looked_up_at"),
    *("claimed_at", "ended_at", "cancel_requested_by"),
)


def clusters() -> list[int]:
    """Those that may be asked now."""
    return list(maintenance.clusters_at_work().values_list("pk", flat=True))


def due() -> list[int]:
    """Clusters that are to be asked now: nobody asks them, and it is their time."""
    now = timezone.now()
    known = {health.cluster_id: health for health in ClusterHealth.objects.all()}
    return [pk for pk in clusters() if pk not in known or pace.is_due(known[pk], now)]


def poll_if_due(cluster_id: int) -> list[int]:
    """Rung by every clock that ticks: one of all rings asks."""
    health_now = health.of(cluster_id)
    return poll(cluster_id, believed=health_now) if pace.is_due(health_now, timezone.now()) else []


def poll(cluster_id: int, *, believed: ClusterHealth | None = None) -> list[int]:
    """One cycle: queue and recent records in one remote call. Returns the jobs that became final.

    `believed`: only if nobody has asked since it was read.
    """
    cluster = Cluster.objects.get(pk=cluster_id)
    lease = None if maintenance.lasts(cluster_id) else _elected(cluster, believed)
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


def _elected(cluster: Cluster, believed: ClusterHealth | None) -> datetime | None:
    """The lease, if this worker is the one that asks now: a guarded UPDATE."""
    now = timezone.now()
    if believed is None:
        health.of(cluster.pk)
    free = ClusterHealth.objects.filter(Q(lease_until=None) | Q(lease_until__lte=now), cluster=cluster)
    if believed is not None:
        free = free.filter(asked_at=believed.asked_at)
    ours = free.update(lease_until=now + LEASE, asked_at=now, ask_at=None)
    return now + LEASE if ours else None


def _poll(cluster: Cluster) -> list[int]:
    measured = probing.is_measured(cluster)
    jobs = {job.scheduler_id: job for job in Job.objects.on_cluster(cluster).defer(*UNASKED)}
    answer = _ask(cluster, _since(cluster, jobs.values()))
    adopted, trouble = _adopt(cluster, answer, jobs.values())
    jobs |= {job.scheduler_id: job for job in adopted}
    finished: list[int] = []
    runs = answer.records.runs if measured and answer.records else None
    sweeps = array_tasks.look(jobs, answer.queue, runs, timezone.now())
    if measured and answer.records is not None:
        usage.quarantine(cluster, answer.records.rejected)
        finished = _record(cluster, jobs, sweeps, answer.queue, answer.records.runs, answer.asked_at)
        if not trouble:
            Collection.objects.update_or_create(
                cluster=cluster, defaults={"complete_until": answer.asked_at, "updated_at": timezone.now()}
            )
    _advance(jobs, answer.queue)
    _advance_sweeps(sweeps)
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
    now = timezone.now()
    # Whoever wants it sooner has said so meanwhile.
    ClusterHealth.objects.filter(cluster=cluster, ask_at=None).update(
        ask_at=now + pace.pause(jobs.values(), now)
    )
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
    cluster: Cluster,
    jobs: dict[str, Job],
    sweeps: Sequence[News],
    queue: Sequence[QueueEntry],
    runs: Sequence[Run],
    as_of: datetime,
) -> list[int]:
    """Usage, charge, release and final state of every run that ended: one transaction.

    Open runs are left to `jobs.collecting`: their figure changes with every second and would be written at every cycle.
    """
    live = {entry.job_id_raw for entry in queue if entry.state in WAITING_WORDS | HOLDING_WORDS}
    ended = [run for run in runs if run.end is not None]
    usage.record_runs(
        ended, cluster=cluster, as_of=as_of, in_queue=live, attribute=partial(attribution, cluster)
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
    return finished + [news.job.pk for news in sweeps if _finish_sweep(news, as_of)]


def _finish_sweep(news: News, as_of: datetime) -> bool:
    """Once every task has ended; what each cost is charged by then, record by record."""
    states = news.states
    if not array_tasks.is_over(states):
        return False
    state, reason = array_tasks.outcome(states)
    return lifecycle.finish(
        news.job,
        state,
        reason=reason,
        task_states=states,
        started_at=news.started_at,
        ended_at=news.ended_at,
        confirmed_at=as_of,
    )


def _advance(jobs: dict[str, Job], queue: Sequence[QueueEntry]) -> None:
    """Move the jobs that the queue shows; note why they wait and when they may start. Three queries, and one each for
    those that wait again."""
    now = timezone.now()
    seen: list[tuple[int, datetime]] = []
    started: list[tuple[Job, datetime | None, str]] = []
    waiting: list[tuple[int, str, datetime | None, datetime]] = []
    for entry in queue:
        job = jobs.get(entry.scheduler_id)
        if job is None or job.token != entry.token or job.state in FINAL:
            continue
        if entry.state in HOLDING_WORDS and job.state == State.QUEUED:
            started.append((job, entry.started_at, entry.nodes))
        elif entry.state in WAITING_WORDS:
            if job.state == State.RUNNING:
                lifecycle.mark_requeued(job, entry.reason)
            if (job.reason, job.expected_start_at) != (entry.reason, entry.started_at):
                waiting.append((job.pk, entry.reason, entry.started_at, now))
                job.expected_start_at, job.confirmed_at = entry.started_at, now
        if job.confirmed_at is None or now - job.confirmed_at > CONFIRMED:
            seen.append((job.pk, now))
    lifecycle.mark_all_running(started)
    bulk.change(Job, ("reason", "expected_start_at", "confirmed_at"), waiting, state=State.QUEUED)
    bulk.change(Job, ("confirmed_at",), seen)


def _advance_sweeps(sweeps: Sequence[News]) -> None:
    """Once one of its tasks has begun, a sweep runs until the last has ended; if all wait anew, it waits again."""
    now = timezone.now()
    changed: list[tuple[int, str]] = []
    started: list[tuple[Job, datetime | None, str]] = []
    waiting: list[tuple[int, str, datetime | None]] = []
    seen: list[tuple[int, datetime]] = []
    for news in sweeps:
        job, states = news.job, news.states
        if job.state in FINAL:
            continue
        if states != job.task_states:
            job.task_states = states
            changed.append((job.pk, states))
        begun = {*states} != {TaskState.WAITING}
        if begun and job.state == State.QUEUED:
            started.append((job, news.started_at, ""))
        elif not begun and job.state == State.RUNNING:
            lifecycle.mark_requeued(job, news.reason)
        if not begun and (job.reason, job.expected_start_at) != (news.reason, news.starts_at):
            waiting.append((job.pk, news.reason, news.starts_at))
            job.expected_start_at = news.starts_at
        if news.is_there and (job.confirmed_at is None or now - job.confirmed_at > CONFIRMED):
            seen.append((job.pk, now))
    bulk.change(Job, ("task_states",), changed)
    lifecycle.mark_all_running(started)
    bulk.change(Job, ("reason", "expected_start_at"), waiting, state=State.QUEUED)
    bulk.change(Job, ("confirmed_at",), seen)
