"""What may a job still cost, by what the scheduler gave it? Its hold follows: the worst case of what can still run.

A job on exclusive nodes holds all their GPUs, an array as many times its GPUs as it has tasks, and an operator may have
raised its limit. Runs that ended are charged; a requeued job can run its whole limit once more, so its hold stays whole.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from django.db import transaction

from accounting import ledger
from accounting.models import Cluster, Hold, Partition
from accounting.runs import Run
from accounting.units import worst_case
from jobs.models import Job
from jobs.spec import QueueEntry
from jobs.states import FINAL, TaskState
from portal.models.audit import record


def follow(
    cluster: Cluster, jobs: Mapping[str, Job], queue: Iterable[QueueEntry], runs: Iterable[Run]
) -> list[int]:
    """Re-price the holds of `jobs` (by scheduler id) by their live entries of the queue; the jobs whose hold changed.

    Two queries where every job got what it asked for. What runs and has no record yet is not known: nothing changes.
    """
    alive = _alive(jobs, queue)
    if not alive:
        return []
    partitions = {
        one.name: one for one in Partition.objects.filter(cluster=cluster).prefetch_related("factors")
    }
    running = {run.job_id_raw: run for run in runs if run.end is None and run.start is not None}
    wanted: dict[str, tuple[Job, int]] = {}
    for job, entries in alive:
        if any(entry.nodes and entry.job_id_raw not in running for entry in entries):
            continue
        cost = sum(_cost(job, entry, running.get(entry.job_id_raw), partitions) for entry in entries)
        if job.is_sweep:
            cost += _unseen(job, len(entries)) * _task(job, partitions)
        # A plain job that got what it asked for keeps its hold, also one that held more before a requeue.
        if cost != _asked(job, partitions) or entries[0].scheduler_id != job.scheduler_id:
            wanted[job.token] = (job, cost)
    if not wanted:
        return []
    holds = Hold.objects.open().filter(reference__in=wanted)
    held = dict(holds.values_list("reference", "gpu_seconds"))
    off = [one for token, one in wanted.items() if held.get(token, one[1]) != one[1]]
    return [job.pk for job, cost in off if _reprice(job, cost)]


def _alive(
    jobs: Mapping[str, Job], queue: Iterable[QueueEntry]
) -> Sequence[tuple[Job, Sequence[QueueEntry]]]:
    """Each job with its entries that wait or run: one, or an array's tasks (530_1), or a het job's components (537+0).

    A plain job that waits is left out: nothing is known of it but what it asked for.
    """
    found: dict[str, list[QueueEntry]] = defaultdict(list)
    for entry in queue:
        if not entry.nodes and entry.scheduler_id in jobs:
            continue
        number = entry.scheduler_id.partition("_")[0].partition("+")[0]
        job = jobs.get(number)
        if job and job.token == entry.token and job.state not in FINAL:
            found[number].append(entry)
    return [(jobs[number], entries) for number, entries in found.items()]


def _cost(job: Job, entry: QueueEntry, run: Run | None, partitions: Mapping[str, Partition]) -> int:
    """The worst case of one entry: what its run really holds, or what was asked while it waits."""
    gpus = max(job.gpus, run.gpus) if run else job.gpus
    minutes = max(job.time_limit_minutes, run.time_limit_minutes or 0) if run else job.time_limit_minutes
    at = run.start if run and run.start else job.created_at
    return worst_case(gpus, minutes, _partition(job, run.partition if run else "", partitions).factor_at(at))


def _asked(job: Job, partitions: Mapping[str, Partition]) -> int:
    """What was held when it was submitted."""
    return job.tasks * _task(job, partitions)


def _task(job: Job, partitions: Mapping[str, Partition]) -> int:
    """What was held for each of its tasks: a plain job is one."""
    price = _partition(job, "", partitions).factor_at(job.created_at)
    return worst_case(job.gpus, job.time_limit_minutes, price)


def _unseen(job: Job, entries: int) -> int:
    """Tasks of a sweep that left the queue, and whose record has not come: they are not charged yet."""
    unfinished = job.task_states.count(TaskState.WAITING) + job.task_states.count(TaskState.RUNNING)
    return max(unfinished - entries, 0)


def _partition(job: Job, name: str, partitions: Mapping[str, Partition]) -> Partition:
    return partitions.get(name) or next(one for one in partitions.values() if one.pk == job.partition_id)


@transaction.atomic
def _reprice(job: Job, gpu_seconds: int) -> bool:
    """The run is a fact: that it may cost more than is available is noted, never refused."""
    changed = ledger.reprice(job.token, gpu_seconds)
    if changed is None:
        return False
    if job.is_sweep and gpu_seconds < changed.before:
        return True  # task after task ends: no news for anybody
    record(
        "hold re-priced",
        job,
        by=None,
        project=job.project,
        before=changed.before,
        gpu_seconds=gpu_seconds,
        short=changed.short,
    )
    return True
