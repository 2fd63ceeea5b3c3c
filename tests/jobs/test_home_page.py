"""Home, by role: what needs me, what runs, what is left."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounting import ledger
from accounting.models import Allocation, AllocationRequest, Partition
from jobs.models import Job
from jobs.states import State
from portal.models import User
from tests.factories import AllocationRequestFactory, HoldFactory, JobFactory, ReviewFactory

ClientFor = Callable[[User], Client]


@pytest.fixture
def jobs(mei: User, ivo: User, allocation: Allocation, a100: Partition) -> list[Job]:
    shared = {"allocation": allocation, "partition": a100}
    return [
        JobFactory.create(owner=mei, name="Runs", state=State.RUNNING, scheduler_id="1", **shared),
        JobFactory.create(
            owner=mei, name="Broke", state=State.FAILED, reason="TIMEOUT", ended_at=timezone.now(), **shared
        ),
        JobFactory.create(
            owner=ivo, name="Theirs broke", state=State.FAILED, ended_at=timezone.now(), **shared
        ),
    ]


@pytest.fixture
def asked(ivo: User, allocation: Allocation) -> list[AllocationRequest]:
    shared = {"project": allocation.project, "cluster": allocation.cluster, "created_by": ivo}
    return [
        AllocationRequestFactory.create(state=AllocationRequest.State.SUBMITTED, **shared),
        AllocationRequestFactory.create(state=AllocationRequest.State.RETURNED, **shared),
    ]


def shown(client: Client) -> str:
    response = client.get("/")
    assert response.status_code == 200
    return response.content.decode()


def test_a_member_sees_what_failed_what_runs_and_what_is_left(
    mei: User, jobs: list[Job], asked: list[AllocationRequest], client_for: ClientFor
) -> None:
    home = shown(client_for(mei))
    assert "Broke failed" in home
    assert "reached its time limit" in home
    assert "Theirs broke failed" not in home
    assert "Runs" in home
    assert "Squeezed light" in home
    assert "Submit job" in home
    assert "/requests/" not in home


def test_a_pi_sees_what_the_centre_asks(
    ivo: User, asked: list[AllocationRequest], client_for: ClientFor
) -> None:
    assert "The centre has questions about your request" in shown(client_for(ivo))


def test_hours_that_end_soon_or_are_nearly_used_come_first(
    mei: User, ivo: User, sam: User, allocation: Allocation, client_for: ClientFor
) -> None:
    assert "Jobs are refused" not in shown(client_for(mei))
    today = timezone.now().date()
    Allocation.objects.update(end=today + timedelta(days=9), usable_until=today + timedelta(days=9))
    assert "The hours of Squeezed light end on" in shown(client_for(mei))
    assert "Ask for more in time" in shown(client_for(ivo))
    ledger.adjust(allocation, -4_600 * 3600, by=sam, reason="Moved.")
    assert "Squeezed light has" not in shown(client_for(mei))
    HoldFactory.create(allocation=allocation, gpu_seconds=390 * 3600)
    assert "Squeezed light has" in shown(client_for(mei))


def test_what_a_second_approver_has_to_agree_to_is_said(
    ann: User, sam: User, ivo: User, allocation: Allocation, client_for: ClientFor
) -> None:
    endorsed = AllocationRequestFactory.create(
        project=allocation.project, created_by=ivo, state=AllocationRequest.State.ENDORSED
    )
    ReviewFactory.create(request=endorsed, reviewer=sam, verdict="endorsed", gpu_seconds_awarded=3600)
    assert "a second approver has to agree" in shown(client_for(ann))


@pytest.mark.parametrize("who", ["sam", "ann"])
def test_the_centre_sees_what_waits_for_a_decision(
    who: str, asked: list[AllocationRequest], request: pytest.FixtureRequest, client_for: ClientFor
) -> None:
    assert "Quantum Optics asks for" in shown(client_for(request.getfixturevalue(who)))


def test_a_funder_sees_the_report_and_no_job(fay: User, jobs: list[Job], client_for: ClientFor) -> None:
    home = shown(client_for(fay))
    assert "/reports/" in home
    assert all(secret not in home for secret in ("Runs", "Broke", "Mei Lin", 'href="/jobs/'))


@pytest.mark.parametrize("who", ["otto", "vera"])
def test_a_stranger_sees_nothing_of_it(
    who: str,
    jobs: list[Job],
    asked: list[AllocationRequest],
    request: pytest.FixtureRequest,
    client_for: ClientFor,
) -> None:
    home = shown(client_for(request.getfixturevalue(who)))
    assert all(secret not in home for secret in ("Runs", "Broke", "Squeezed light", "Quantum Optics asks"))
    assert "Nothing is waiting or running" in home


def test_who_is_logged_out_is_sent_to_the_log_in(db: None, client: Client) -> None:
    assert client.get("/")["Location"].startswith("/accounts/login/")


def test_the_number_of_queries_is_constant(
    sam: User,
    allocation: Allocation,
    a100: Partition,
    client_for: ClientFor,
    django_assert_max_num_queries: Any,
) -> None:
    for _number in range(8):
        JobFactory.create(allocation=allocation, partition=a100)
        AllocationRequestFactory.create()
    client = client_for(sam)
    with django_assert_max_num_queries(15):
        client.get("/")
