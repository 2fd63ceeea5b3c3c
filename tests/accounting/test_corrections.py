"""A balance is corrected by hand with a reason; above the policy's threshold, by two people."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, connection, transaction

from accounting import ledger
from accounting.actions import corrections
from accounting.actions.policies import set_policy
from accounting.models import Allocation, Correction, LedgerEntry
from portal.models import AuditEvent, Lab, OutgoingMail, Role, User
from portal.transitions import Overtaken
from tests.factories import MembershipFactory, UserFactory

pytestmark = pytest.mark.django_db
HOUR = 3600
GRANTED = 5000 * HOUR


@pytest.fixture
def guarded(allocation: Allocation, sam: User) -> Allocation:
    """Above 100 GPU-hours a second person has to agree."""
    set_policy(by=sam, cluster=allocation.cluster, second_person_above=100 * HOUR)
    return Allocation.objects.select_related("project__lab", "cluster").get(pk=allocation.pk)


@pytest.fixture
def kim(db: None) -> User:
    """One more of the staff."""
    return MembershipFactory.create(user=UserFactory.create(name="Kim Soto"), role=Role.STAFF).user


def propose(by: User, allocation: Allocation, gpu_seconds: int = 101 * HOUR) -> Correction:
    written = corrections.adjust(by=by, allocation=allocation, gpu_seconds=gpu_seconds, reason="Repairs.")
    assert isinstance(written, Correction)
    return written


def test_up_to_the_threshold_one_is_enough(guarded: Allocation, sam: User) -> None:
    written = corrections.adjust(by=sam, allocation=guarded, gpu_seconds=-100 * HOUR, reason="Twice.")
    assert isinstance(written, LedgerEntry)
    assert ledger.balance(guarded).balance == GRANTED - 100 * HOUR


def test_without_a_threshold_one_is_always_enough(allocation: Allocation, sam: User) -> None:
    written = corrections.adjust(by=sam, allocation=allocation, gpu_seconds=GRANTED, reason="Doubled.")
    assert isinstance(written, LedgerEntry)


@pytest.mark.parametrize("sign", [1, -1])
def test_above_it_nothing_moves_until_another_agrees(
    guarded: Allocation, sam: User, ann: User, kim: User, sign: int
) -> None:
    correction = propose(sam, guarded, sign * 101 * HOUR)
    assert ledger.balance(guarded).balance == GRANTED
    assert {*OutgoingMail.objects.filter(template="correction_proposed").values_list("to", flat=True)} == {
        ann.email,
        kim.email,
    }
    entry = corrections.approve(by=ann, correction=correction, comment="Seen the log.")
    assert ledger.balance(guarded).balance == GRANTED + sign * 101 * HOUR
    assert (entry.actor, entry.reason, correction.entry) == (sam, "Repairs.", entry)
    assert OutgoingMail.objects.get(template="correction_decided").to == sam.email
    assert AuditEvent.objects.about(correction).filter(actor=ann).exists()


def test_nobody_is_their_own_second(guarded: Allocation, sam: User) -> None:
    correction = propose(sam, guarded)
    with pytest.raises(PermissionDenied, match="Somebody else"):
        corrections.approve(by=sam, correction=correction)
    Correction.objects.filter(pk=correction.pk)
    with pytest.raises(IntegrityError), transaction.atomic():
        Correction.objects.filter(pk=correction.pk).update(state="approved", decided_by=sam)
    with pytest.raises(IntegrityError), transaction.atomic():
        Correction.objects.filter(pk=correction.pk).update(state="approved")


def test_small_ones_are_added_up(guarded: Allocation, sam: User, ann: User) -> None:
    corrections.adjust(by=sam, allocation=guarded, gpu_seconds=60 * HOUR, reason="One.")
    correction = propose(sam, guarded, -41 * HOUR)
    corrections.approve(by=ann, correction=correction)
    written = corrections.adjust(
        by=sam, allocation=guarded, gpu_seconds=40 * HOUR, reason="What two agreed to is not alone."
    )
    assert isinstance(written, LedgerEntry)


def test_who_proposed_it_may_take_it_back(guarded: Allocation, sam: User, ann: User) -> None:
    correction = propose(sam, guarded)
    corrections.decline(by=sam, correction=correction, comment="A typing error.")
    with pytest.raises(Overtaken):
        corrections.approve(by=ann, correction=correction)
    assert ledger.balance(guarded).balance == GRANTED
    assert not OutgoingMail.objects.filter(template="correction_decided").exists()


def test_only_the_centre_agrees_and_not_for_its_own_lab(
    guarded: Allocation, optics: Lab, sam: User, ann: User, ivo: User, fay: User
) -> None:
    correction = propose(sam, guarded)
    for person in (ivo, fay):
        with pytest.raises(PermissionDenied):
            corrections.approve(by=person, correction=correction)
    MembershipFactory.create(user=ann, role=Role.MEMBER, lab=optics)
    with pytest.raises(PermissionDenied, match="own lab"):
        corrections.approve(by=User.objects.get(pk=ann.pk), correction=correction)


@pytest.mark.django_db(transaction=True)
def test_two_who_agree_at_once_correct_it_once(guarded: Allocation, sam: User, ann: User, kim: User) -> None:
    propose(sam, guarded)

    def agree(person: User) -> bool:
        try:
            found = Correction.objects.select_related("allocation__project__lab", "allocation__cluster").get()
            corrections.approve(by=person, correction=found)
        except Overtaken:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(max_workers=6) as threads:
        assert list(threads.map(agree, [ann, kim] * 3)).count(True) == 1
    assert ledger.balance(guarded).balance == GRANTED + 101 * HOUR


@pytest.mark.django_db(transaction=True)
def test_two_small_ones_at_once_are_added_up(guarded: Allocation, sam: User, kim: User) -> None:
    def adjust(person: User) -> bool:
        try:
            written = corrections.adjust(by=person, allocation=guarded, gpu_seconds=60 * HOUR, reason="So.")
        finally:
            connection.close()
        return isinstance(written, LedgerEntry)

    with ThreadPoolExecutor(max_workers=4) as threads:
        assert list(threads.map(adjust, [sam, kim] * 2)).count(True) == 1
    assert Correction.objects.count() == 3
