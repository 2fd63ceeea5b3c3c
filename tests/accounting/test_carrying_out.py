"""An approval is carried out: each kind of request brings about its own, once, or says why it can't any more."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounting import ledger
from accounting.actions.awards import carry_out
from accounting.models import Allocation, AllocationRequest, LedgerEntry, Policy, Review, Tranche
from portal.models import Project, User
from portal.transitions import Overtaken
from tests.factories import AllocationRequestFactory, HoldFactory, ProjectFactory, ReviewFactory

HOUR = 3600
Kind = AllocationRequest.Kind


def today() -> date:
    return timezone.now().date()


def in_days(days: int) -> date:
    return today() + timedelta(days=days)


@pytest.fixture
def policy(allocation: Allocation) -> Policy:
    return Policy.objects.create(cluster=allocation.cluster, grace_days=14, carry_over_percent=10)


def approved(kind: str, allocation: Allocation, sam: User, **asked: object) -> Review:
    end = asked.pop("end_awarded", None)
    request = AllocationRequestFactory.create(
        kind=kind,
        project=allocation.project,
        cluster=allocation.cluster,
        allocation=None if kind == Kind.NEW else allocation,
        state=AllocationRequest.State.APPROVED,
        **asked,
    )
    return ReviewFactory.create(request=request, reviewer=sam, end_awarded=end)


def carried_out(review: Review) -> Allocation:
    with transaction.atomic():
        return carry_out(by=review.reviewer, request=review.request, review=review)


def test_a_new_one_has_its_days_its_grace_and_its_grant(
    allocation: Allocation, policy: Policy, sam: User
) -> None:
    review = approved(Kind.NEW, allocation, sam, gpu_hours=700)
    made = carried_out(review)
    assert (made.start, made.end) == review.request.period
    assert made.usable_until == made.end + timedelta(days=14)
    assert (made.review, made.follows) == (review, None)
    assert ledger.balance(made).granted == 700 * HOUR


def test_an_award_makes_one_allocation(allocation: Allocation, sam: User) -> None:
    review = approved(Kind.NEW, allocation, sam)
    carried_out(review)
    with pytest.raises(IntegrityError):
        carried_out(review)
    assert Allocation.objects.count() == 2


def test_the_centre_may_award_a_shorter_time(allocation: Allocation, sam: User) -> None:
    made = carried_out(approved(Kind.NEW, allocation, sam, end_awarded=in_days(30)))
    assert made.end == in_days(30)


def test_a_supplement_adds_to_its_allocation(allocation: Allocation, sam: User) -> None:
    assert carried_out(approved(Kind.SUPPLEMENT, allocation, sam, gpu_hours=250)) == allocation
    assert ledger.balance(allocation).granted == 5250 * HOUR


def test_hours_that_could_not_be_used_are_not_granted(allocation: Allocation, sam: User) -> None:
    Allocation.objects.filter(pk=allocation.pk).update(end=in_days(-3), usable_until=in_days(-1))
    with pytest.raises(Overtaken, match="has ended meanwhile"):
        carried_out(approved(Kind.SUPPLEMENT, allocation, sam))
    assert ledger.balance(allocation).granted == 5000 * HOUR


def test_an_extension_moves_the_last_day_and_its_grace(
    allocation: Allocation, policy: Policy, sam: User
) -> None:
    review = approved(Kind.EXTENSION, allocation, sam, gpu_hours=0, end=in_days(400))
    assert carried_out(review).end == in_days(400)
    allocation.refresh_from_db()
    assert (allocation.end, allocation.usable_until) == (in_days(400), in_days(414))
    assert ledger.balance(allocation).granted == 5000 * HOUR


def test_an_extension_may_be_awarded_in_part(allocation: Allocation, sam: User) -> None:
    review = approved(
        Kind.EXTENSION, allocation, sam, gpu_hours=0, end=in_days(400), end_awarded=in_days(300)
    )
    assert carried_out(review).end == in_days(300)


def test_an_extension_never_ends_before_today_nor_before_it_did(allocation: Allocation, sam: User) -> None:
    Allocation.objects.filter(pk=allocation.pk).update(end=in_days(-9), usable_until=in_days(-9))
    late = approved(Kind.EXTENSION, allocation, sam, gpu_hours=0, start=in_days(-20), end=in_days(-2))
    assert carried_out(late).end == today()
    with pytest.raises(Overtaken, match="already runs until"):
        carried_out(late)


@pytest.mark.parametrize("kind", [Kind.SUPPLEMENT, Kind.EXTENSION])
def test_what_is_settled_is_not_changed_any_more(allocation: Allocation, sam: User, kind: str) -> None:
    Allocation.objects.filter(pk=allocation.pk).update(settled_at=timezone.now())
    with pytest.raises(Overtaken, match="can be renewed"):
        carried_out(approved(kind, allocation, sam, end=in_days(400)))


def test_a_renewal_follows(allocation: Allocation, sam: User) -> None:
    made = carried_out(approved(Kind.RENEWAL, allocation, sam, start=in_days(181), end=in_days(360)))
    assert made != allocation and made.follows == allocation
    assert ledger.balance(made).granted == 1000 * HOUR
    assert ledger.balance(allocation).granted == 5000 * HOUR  # carried over when it has ended


def test_of_tranches_only_those_due_are_granted_at_once(allocation: Allocation, sam: User) -> None:
    review = approved(Kind.NEW, allocation, sam)
    for hours, days in ((300, 0), (700, 60)):
        Tranche.objects.create(review=review, gpu_seconds=hours * HOUR, available_from=in_days(days))
    made = carried_out(review)
    assert ledger.balance(made).granted == 300 * HOUR


# ── Transfers ────────────────────────────────────────────────────────────────


@pytest.fixture
def receiver(project: Project) -> Project:
    return ProjectFactory.create(
        lab=project.lab, funder=project.funder, title="Cold atoms", slug="cold-atoms"
    )


def moving(allocation: Allocation, receiver: Project, sam: User, ivo: User, hours: int) -> Review:
    consent = {"to_project": receiver, "consented_by": ivo, "consented_at": timezone.now()}
    return approved(Kind.TRANSFER, allocation, sam, gpu_hours=hours, **consent)


def test_a_transfer_is_two_entries_of_one_amount(
    allocation: Allocation, receiver: Project, sam: User, ivo: User
) -> None:
    target = carried_out(moving(allocation, receiver, sam, ivo, 1200))
    departure, arrival = LedgerEntry.objects.filter(kind="transfer")
    assert (departure.allocation, departure.gpu_seconds) == (allocation, -1200 * HOUR)
    assert (arrival.allocation, arrival.gpu_seconds, arrival.cites) == (target, 1200 * HOUR, departure)
    assert (target.project, target.start, target.end) == (receiver, allocation.start, allocation.end)


def test_a_transfer_goes_to_the_allocation_that_is_there(
    allocation: Allocation, receiver: Project, sam: User, ivo: User
) -> None:
    first = carried_out(moving(allocation, receiver, sam, ivo, 100))
    assert carried_out(moving(allocation, receiver, sam, ivo, 200)) == first
    assert ledger.balance(first).available == 300 * HOUR


def test_a_transfer_is_done_once(allocation: Allocation, receiver: Project, sam: User, ivo: User) -> None:
    review = moving(allocation, receiver, sam, ivo, 100)
    carried_out(review)
    with pytest.raises(IntegrityError):
        carried_out(review)
    assert ledger.balance(allocation).available == 4900 * HOUR


def test_hours_that_are_held_or_gone_are_not_moved(
    allocation: Allocation, receiver: Project, sam: User, ivo: User
) -> None:
    HoldFactory.create(allocation=allocation, gpu_seconds=4000 * HOUR)
    with pytest.raises(Overtaken) as refused:
        carried_out(moving(allocation, receiver, sam, ivo, 1001))
    sentence = str(refused.value).replace("\u202f", " ")
    assert "1 001 GPU-hours can't be moved: only 1 000 are available now (4 000 more are held" in sentence
    assert not Allocation.objects.filter(project=receiver).exists()


def test_nothing_moves_without_the_other_sides_consent(
    allocation: Allocation, receiver: Project, sam: User
) -> None:
    with pytest.raises(Overtaken, match="has not agreed"):
        carried_out(approved(Kind.TRANSFER, allocation, sam, to_project=receiver))
