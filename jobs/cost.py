"""What one job cost so far, and at most. Reads only; integer GPU-seconds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import QuerySet, Sum

from accounting.models import Hold, LedgerEntry, UsageRecord
from accounting.units import charged, worst_case
from jobs.dispatch import CLOCKS
from jobs.models import Job
from jobs.states import State, TaskState


@dataclass(frozen=True)
class Cost:
    worst: int  # what was held when it was submitted
    charged: int = 0  # of runs that ended
    running: int = 0  # of the run that goes on, reckoned from its start
    runs: Sequence[UsageRecord] = field(default_factory=tuple)

    @property
    def is_accounted(self) -> bool:
        """Whether the scheduler's accounting has its runs: then `charged` is the last word."""
        return bool(self.runs) and not any(run.provisional for run in self.runs)

    @property
    def so_far(self) -> int:
        return self.charged + self.running

    @property
    def came_back(self) -> int:
        return max(self.worst - self.charged, 0)


def of_job(job: Job, now: datetime) -> Cost:
    """Three queries."""
    hold = Hold.objects.filter(reference=job.token).first()
    worst = hold.gpu_seconds if hold else 0
    if job.is_sweep:  # what is held shrinks as tasks end
        price = job.partition.factor_at(job.created_at)
        worst = max(worst, worst_case(job.gpus, job.time_limit_minutes, price, tasks=job.tasks))
    if not job.scheduler_id:
        return Cost(worst)
    runs = list(_records(job, range(job.tasks)))
    entries = LedgerEntry.objects.filter(usage_record__in=runs).aggregate(sum=Sum("gpu_seconds", default=0))
    return Cost(worst, -entries["sum"], _running(job, runs, now), runs)


@dataclass(frozen=True)
class Task:
    """One of a sweep, with what its runs held so far."""

    number: int
    state: TaskState
    gpu_seconds: int = 0
    exit_code: str = ""
    word: str = ""  # the scheduler's, where it failed otherwise than by its exit code: TIMEOUT


def of_tasks(job: Job, numbers: Sequence[int]) -> list[Task]:
    """One query."""
    runs: dict[str, list[UsageRecord]] = defaultdict(list)
    for run in _records(job, numbers) if job.scheduler_id else ():
        runs[run.job_id].append(run)
    return [_task(job, number, runs[_name(job, number)]) for number in numbers]


def _task(job: Job, number: int, runs: Sequence[UsageRecord]) -> Task:
    state = TaskState(job.task_states[number]) if job.task_states else TaskState.WAITING
    held = sum(run.gpu_seconds for run in runs)
    last = runs[-1] if runs else None
    if last is None or state in (TaskState.WAITING, TaskState.RUNNING):
        return Task(number, state, held)
    word = last.state if state == TaskState.FAILED and last.state != "FAILED" else ""
    return Task(number, state, held, last.exit_code, word)


def _records(job: Job, tasks: Iterable[int]) -> QuerySet[UsageRecord]:
    names = [_name(job, task) for task in tasks]
    return UsageRecord.objects.filter(
        cluster=job.cluster_id, job_id__in=names, submit__gte=job.created_at - CLOCKS
    ).order_by("start", "pk")


def _name(job: Job, task: int) -> str:
    """Under which the scheduler keeps its records."""
    return f"{job.scheduler_id}_{task}" if job.is_sweep else job.scheduler_id


def _running(job: Job, runs: Sequence[UsageRecord], now: datetime) -> int:
    if job.is_sweep:
        return sum(
            charged(run.gpu_seconds, job.partition.factor_at(run.start or now))
            for run in runs
            if run.provisional
        )
    if job.state != State.RUNNING or job.started_at is None:
        return 0
    seconds = max(int((now - job.started_at).total_seconds()), 0)
    return charged(seconds * job.gpus, job.partition.factor_at(job.started_at))
