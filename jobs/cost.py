"""What one job cost so far, and at most. Reads only; integer GPU-seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import Sum

from accounting.models import Hold, LedgerEntry, UsageRecord
from accounting.units import charged
from jobs.dispatch import CLOCKS
from jobs.models import Job
from jobs.states import State


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
    if not job.scheduler_id:
        return Cost(worst)
    runs = list(
        UsageRecord.objects.filter(
            cluster=job.cluster_id, job_id=job.scheduler_id, submit__gte=job.created_at - CLOCKS
        ).order_by("start", "pk")
    )
    entries = LedgerEntry.objects.filter(usage_record__in=runs).aggregate(sum=Sum("gpu_seconds", default=0))
    return Cost(worst, -entries["sum"], _running(job, now), runs)


def _running(job: Job, now: datetime) -> int:
    if job.state != State.RUNNING or job.started_at is None:
        return 0
    seconds = max(int((now - job.started_at).total_seconds()), 0)
    return charged(seconds * job.gpus, job.partition.factor_at(job.started_at))
