"""The world that the other tests stand on."""

from __future__ import annotations

import pytest
from celery import shared_task
from django.db import IntegrityError, transaction
from django.test import TestCase

from accounting import ledger
from accounting.models import Allocation, LedgerEntry
from portal.doorbell import ring
from portal.models import User
from tests.conftest import Bell
from tests.factories import JobFactory


@shared_task(name="tests.knock")
def knock(number: int) -> None:
    raise AssertionError("A ring is recorded, not run.")


def test_a_ring_is_recorded_on_commit(db: None, bell: Bell) -> None:
    with TestCase.captureOnCommitCallbacks(execute=True), transaction.atomic():
        ring(knock, 7)
        assert bell.rings == []
    assert bell.rang("tests.knock") == [(7,)]


def test_an_allocation_has_its_hours(allocation: Allocation) -> None:
    assert ledger.balance(allocation).available == 5000 * 3600


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("round", [1, 2])
def test_append_only_holds_after_tables_were_emptied(allocation: Allocation, round: int) -> None:
    with pytest.raises(IntegrityError):
        LedgerEntry.objects.all().delete()


def test_people_have_their_roles(
    mei: User, ivo: User, ada: User, sam: User, ann: User, fay: User, otto: User, vera: User
) -> None:
    people = (mei, ivo, ada, sam, ann, fay, otto, vera)
    roles = ("member", "pi", "institution_admin", "staff", "approver", "funder", "member", "pi")
    assert [person.roles for person in people] == [frozenset({role}) for role in roles]


def test_a_job_can_be_made(mei: User, allocation: Allocation) -> None:
    job = JobFactory.create(owner=mei, allocation=allocation)
    assert job.project == allocation.project
    assert job.partition.cluster == allocation.cluster
