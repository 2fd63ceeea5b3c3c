"""A job's steps: every move in the table, no move outside of it, and nobody moves what somebody else moved first."""

from __future__ import annotations

import pytest

from accounting import ledger
from accounting.models import Allocation
from jobs import lifecycle
from jobs.models import Job
from jobs.states import FINAL, MOVES, State
from portal.models import User
from portal.transitions import IllegalMove, move
from tests.factories import JobFactory

pytestmark = pytest.mark.django_db

PAIRS = [(before, after) for before in State for after in State]


@pytest.mark.parametrize(("before", "after"), PAIRS, ids=lambda state: str(state))
def test_the_table_of_moves_is_what_the_portal_does(before: State, after: State) -> None:
    job = JobFactory.create(state=before, scheduler_id="7")
    if after in MOVES[before]:
        assert move(job, after)
        assert Job.objects.get(pk=job.pk).state == after
    else:
        with pytest.raises(IllegalMove):
            move(job, after)
        assert Job.objects.get(pk=job.pk).state == before


def test_final_is_final() -> None:
    assert all(not MOVES[state] for state in FINAL)
    assert {state for state in State if not MOVES[state]} == FINAL


def test_only_one_of_two_who_believe_the_same_moves_it(mei: User, allocation: Allocation) -> None:
    job = JobFactory.create(owner=mei, allocation=allocation, state=State.NEW)
    mine, yours = Job.objects.get(pk=job.pk), Job.objects.get(pk=job.pk)
    assert lifecycle.claim([mine])
    assert not lifecycle.claim([yours])


def test_finishing_releases_the_hold_once(allocation: Allocation) -> None:
    job = JobFactory.create(allocation=allocation, state=State.RUNNING, scheduler_id="7")
    ledger.hold(allocation, 100, reference=job.token)
    stale = Job.objects.get(pk=job.pk)

    assert lifecycle.finish(job, State.SUCCEEDED)
    assert ledger.balance(allocation).held == 0
    assert not lifecycle.finish(stale, State.FAILED)
    assert Job.objects.get(pk=job.pk).state == State.SUCCEEDED


def test_a_job_that_came_back_waits_before_it_is_sent_again() -> None:
    job = JobFactory.create(state=State.SUBMITTING)
    assert lifecycle.put_back(job, "ClusterUnreachable", "no route")
    job.refresh_from_db()
    assert (job.state, job.attempts) == (State.NEW, 0)
    assert job.not_before is not None
