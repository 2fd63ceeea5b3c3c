"""Whose run is it? What only the portal knows of a record of the scheduler: the person, and the allocation it was held on."""

from __future__ import annotations

from collections.abc import Callable, Collection

from accounting import bulk
from accounting.models import Cluster, allocation_named
from accounting.runs import Run
from accounting.usage import Attribution
from jobs.dispatch import CLOCKS
from jobs.models import ClusterAccount, Job


def is_its(job: Job, run: Run) -> bool:
    """Job ids wrap: a run from before the job was sent is another's."""
    return run.submit is not None and run.submit >= job.created_at - CLOCKS


def attribution(cluster: Cluster, runs: Collection[Run]) -> Callable[[Run], Attribution]:
    """Who is behind each run's POSIX user, and which allocation holds hours for it, or has the budget that it ran on."""
    people = dict(ClusterAccount.objects.filter(cluster=cluster).values_list("username", "user_id"))
    ids = {_number(run) for run in runs}
    known = bulk.among(Job.objects.filter(cluster=cluster).order_by("pk"), "scheduler_id", sorted(ids))
    jobs = {job.scheduler_id: job for job in known}

    def of(run: Run) -> Attribution:
        job = jobs.get(_number(run))
        return Attribution(
            person_id=people.get(run.user),
            allocation_id=job.allocation_id if job and is_its(job, run) else allocation_named(run.qos),
        )

    return of


def _number(run: Run) -> str:
    """Under which the portal knows the job: a sweep's tasks are records of their own, 534_3."""
    return run.job_id.partition("_")[0]
