"""The sweep rings for everything that was missed, and for nothing else."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounting.models import Cluster
from jobs.dispatch import STALE
from jobs.models import ClusterAccount, Job
from jobs.states import State
from jobs.sweep import overdue
from tests.factories import ClusterAccountFactory, JobFactory

pytestmark = pytest.mark.django_db


def rings() -> list[tuple[str, int | str]]:
    return list(overdue())


def aged(**times: timedelta) -> dict[str, Any]:
    return {name: timezone.now() - age for name, age in times.items()}


def test_nothing_waits_nothing_rings(firefly: Cluster) -> None:
    JobFactory.create(cluster=firefly, state=State.RUNNING, scheduler_id="1")
    assert rings() == []


def test_a_waiting_job_rings_dispatch(firefly: Cluster) -> None:
    JobFactory.create(cluster=firefly, state=State.NEW)
    assert rings() == [("dispatch", firefly.pk)]


def test_a_job_that_is_to_wait_does_not(firefly: Cluster) -> None:
    JobFactory.create(cluster=firefly, state=State.NEW, not_before=timezone.now() + timedelta(minutes=1))
    assert rings() == []


def test_a_claim_without_a_sign_of_life_is_looked_up(firefly: Cluster) -> None:
    fresh = JobFactory.create(cluster=firefly, state=State.SUBMITTING)
    Job.objects.filter(pk=fresh.pk).update(claimed_at=timezone.now())
    assert rings() == []
    Job.objects.filter(pk=fresh.pk).update(**aged(claimed_at=STALE + timedelta(seconds=1)))
    assert rings() == [("resolve", firefly.pk)]


def test_a_wish_to_cancel_that_was_not_heard_is_said_again(firefly: Cluster) -> None:
    job = JobFactory.create(cluster=firefly, state=State.RUNNING, scheduler_id="1")
    Job.objects.filter(pk=job.pk).update(**aged(cancel_requested_at=timedelta(minutes=1)))
    assert rings() == [("cancel", firefly.pk)]


def test_an_account_that_is_being_made_is_asked_after(firefly: Cluster) -> None:
    account = ClusterAccountFactory.create(cluster=firefly, state=ClusterAccount.State.REQUESTED)
    ClusterAccountFactory.create(
        cluster=firefly,
        username="fp-gone",
        state=ClusterAccount.State.DISABLED,
        shut_out_at=timezone.now(),
    )
    assert rings() == [("provision", account.pk)]


def test_the_outputs_of_an_ended_job_are_listed(firefly: Cluster) -> None:
    job = JobFactory.create(cluster=firefly, state=State.SUCCEEDED, scheduler_id="1")
    Job.objects.filter(pk=job.pk).update(**aged(ended_at=timedelta(minutes=1)))
    assert rings() == [("list_outputs", job.pk)]
