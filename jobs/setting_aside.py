"""A job that can't be sent is not tried for ever: after MAX_ATTEMPTS it is set aside, and staff are told, once."""

from __future__ import annotations

from django.db import transaction
from django.urls import reverse

from jobs import lifecycle
from jobs.models import MAX_ATTEMPTS, Job
from portal.emails import people_with, post
from portal.models import Role


@transaction.atomic
def try_less(job: Job, reason: str, message: str) -> bool:
    """Surely not sent, and it was the job's own fault: wait for the next try, or, after the last, for staff."""
    if not lifecycle.put_back(job, reason, message, job_at_fault=True):
        return False
    if job.attempts >= MAX_ATTEMPTS:
        _tell_staff(job)
    return True


def _tell_staff(job: Job) -> None:
    for staff in people_with(Role.STAFF):
        post(
            "job_set_aside",
            to=staff,
            key=f"job set aside {job.pk} {job.claimed_at:%Y-%m-%dT%H:%M:%S.%f}",
            path=reverse("jobs:unsent"),
            job=job.name,
            number=job.pk,
            cluster=job.cluster.title,
        )
