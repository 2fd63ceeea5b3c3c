"""The PIs hear of each step of their budget once, from the charge that came to it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from accounting import budgets, ledger
from accounting.ledger import Balance
from accounting.models import Allocation, BudgetNotice
from accounting.usage import record_runs
from portal import mailing
from portal.models import OutgoingMail, User
from tests.factories import AllocationFactory, ReviewFactory, RunFactory

HOUR = 3600


@pytest.fixture
def hundred(allocation: Allocation, ivo: User, mei: User) -> Allocation:
    """100 GPU-hours instead of 5,000."""
    Allocation.objects.filter(pk=allocation.pk).update(start=timezone.now() - timedelta(days=90))
    ledger.adjust(allocation, -4900 * HOUR, by=ivo, reason="Smaller, for the test.")
    return allocation


def use(allocation: Allocation, hours: int) -> None:
    start = timezone.now() - timedelta(days=10)
    run = RunFactory.create(start=start, end=start + timedelta(hours=hours), gpus=1)
    record_runs([run], cluster=allocation.cluster, as_of=timezone.now(), in_queue=())


def mails() -> list[str]:
    return [str(mailing.message(mail).subject) for mail in OutgoingMail.objects.filter(template="budget")]


def test_each_step_is_mailed_once_to_the_pi(hundred: Allocation) -> None:
    for hours in (49, 1, 10, 20, 5, 10, 5, 20):
        use(hundred, hours)
    assert mails() == [f"Squeezed light: {step} % of the GPU-hours are used" for step in (50, 75, 90, 100)]
    assert set(OutgoingMail.objects.values_list("to", flat=True)) == {"ivo@example.org"}


def test_a_run_that_jumps_over_steps_is_one_mail(hundred: Allocation) -> None:
    use(hundred, 95)
    assert mails() == ["Squeezed light: 90 % of the GPU-hours are used"]
    assert BudgetNotice.objects.count() == 3


def test_it_says_what_is_free_and_what_happens_at_the_end(hundred: Allocation) -> None:
    use(hundred, 100)
    body = str(mailing.message(OutgoingMail.objects.get()).body)
    assert "100 of the 100 GPU-hours of “Squeezed light” on Firefly are used" in body
    assert "None are free: new jobs are refused, running ones finish." in body


def test_a_supplement_makes_room_for_new_mails(hundred: Allocation) -> None:
    use(hundred, 60)
    review = ReviewFactory.create(request__gpu_hours=100)
    ledger.grant(hundred, 100 * HOUR, review=review, by=review.reviewer)
    use(hundred, 41)
    assert len(mails()) == 2


def test_the_hourly_round_finds_what_was_missed_and_nothing_else(hundred: Allocation) -> None:
    use(hundred, 60)
    BudgetNotice.objects.all().delete()
    OutgoingMail.objects.all().delete()
    assert (budgets.tell_missed(), budgets.tell_missed()) == (1, 0)
    assert len(mails()) == 1


def test_history_of_ended_allocations_mails_nobody(hundred: Allocation) -> None:
    long_ago = timezone.now().date() - timedelta(days=1)
    Allocation.objects.filter(pk=hundred.pk).update(end=long_ago, usable_until=long_ago)
    use(hundred, 60)
    assert mails() == []


def test_nothing_granted_has_no_steps() -> None:
    assert budgets.reached(Balance()) == []
    assert budgets.reached(Balance(granted=100, expired=50, used=25)) == [50]


@pytest.mark.django_db
def test_the_round_takes_the_same_queries_for_one_and_for_many(
    hundred: Allocation, django_assert_max_num_queries: object
) -> None:
    AllocationFactory.create_batch(5)
    with django_assert_max_num_queries(5):  # type: ignore[operator]
        budgets.tell_missed()
