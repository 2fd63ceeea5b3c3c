"""What an institution had, used and asked for so far, beside its next request."""

from __future__ import annotations

import pytest

from accounting import ledger
from accounting.models import Allocation, AllocationRequest
from accounting.reports.decisions import History, Hours, history, hours_of
from portal.models import User
from tests.factories import AllocationRequestFactory, InstitutionFactory

pytestmark = pytest.mark.django_db

HOUR = 3600
State = AllocationRequest.State


def test_drafts_are_not_asked_and_what_expired_was_granted(allocation: Allocation, ivo: User) -> None:
    before = ledger.balance(allocation).granted
    ledger.expire(allocation, 10 * HOUR, reason="Not used in time.")
    institution, other = allocation.project.lab.institution, InstitutionFactory.create()
    counted = history(institution.pk)
    for state in (State.DRAFT, State.SUBMITTED, State.REJECTED):
        AllocationRequestFactory.create(
            project=allocation.project, cluster=allocation.cluster, state=state, created_by=ivo
        )
    assert hours_of([institution.pk, other.pk]) == {institution.pk: Hours(granted=before)}
    assert history(other.pk) == History(Hours(), requests=0, approved=0, rejected=0)
    assert history(institution.pk) == History(
        Hours(granted=before),
        requests=counted.requests + 2,
        approved=counted.approved,
        rejected=counted.rejected + 1,
    )
