"""The ledger is ink, a balance is what its entries and holds say, and nothing is spent twice."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from accounting import ledger
from accounting.ledger import Balance, NotEnough
from accounting.models import Allocation, Hold, LedgerEntry, UsageRecord
from accounting.usage import record_runs
from portal.models import User
from portal.models.audit import record
from tests.factories import AllocationFactory, HoldFactory, RunFactory

HOUR = 3600


@pytest.fixture
def run(allocation: Allocation) -> UsageRecord:
    """Two GPUs for an hour on the project's account, charged."""
    record_runs([RunFactory.create()], cluster=allocation.cluster, as_of=timezone.now(), in_queue=())
    return UsageRecord.objects.get()


def test_a_balance_is_granted_less_used_less_held(allocation: Allocation, run: UsageRecord) -> None:
    HoldFactory.create(allocation=allocation, gpu_seconds=10 * HOUR)
    balance = ledger.balance(allocation)
    assert balance == Balance(granted=5000 * HOUR, used=2 * HOUR, held=10 * HOUR)
    assert (balance.balance, balance.available) == (4998 * HOUR, 4988 * HOUR)


def test_many_balances_take_two_queries(
    allocation: Allocation, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    allocations = [allocation, *AllocationFactory.create_batch(3, gpu_hours=7)]
    with django_assert_num_queries(2):
        balances = ledger.balances(allocations)
    assert [balances[one.pk].granted // HOUR for one in allocations] == [5000, 7, 7, 7]


@pytest.mark.parametrize("deed", ["update", "delete", "save", "delete one"])
def test_the_database_refuses_to_change_or_remove_an_entry(allocation: Allocation, deed: str) -> None:
    entry = LedgerEntry.objects.get()
    deeds: dict[str, Callable[[], object]] = {
        "update": lambda: LedgerEntry.objects.update(gpu_seconds=1),
        "delete": lambda: LedgerEntry.objects.all().delete(),
        "save": entry.save,
        "delete one": entry.delete,
    }
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        deeds[deed]()
    assert LedgerEntry.objects.get().gpu_seconds == 5000 * HOUR


BY_HAND = {
    "sqlite": ["UPDATE {} SET id = id", "DELETE FROM {}"],
    "postgresql": ["UPDATE {} SET id = id", "DELETE FROM {}", "TRUNCATE {} CASCADE"],
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("table", ["accounting_ledgerentry", "portal_auditevent"])
def test_the_database_refuses_it_by_hand_too(allocation: Allocation, table: str, sam: User) -> None:
    record("hours granted", allocation, by=sam)
    for statement in BY_HAND[connection.vendor]:
        with pytest.raises(IntegrityError, match="append-only"), connection.cursor() as cursor:
            cursor.execute(statement.format(table))


def test_a_run_is_charged_once(allocation: Allocation, run: UsageRecord) -> None:
    assert ledger.charge(allocation, run, Decimal(1)) is None
    with pytest.raises(IntegrityError), transaction.atomic():
        LedgerEntry.objects.create(
            allocation=allocation,
            kind=LedgerEntry.Kind.CHARGE,
            gpu_seconds=-1,
            usage_record=run,
            factor=Decimal(1),
        )


def test_a_review_grants_once(allocation: Allocation) -> None:
    review = LedgerEntry.objects.get().review
    assert review is not None
    with pytest.raises(IntegrityError), transaction.atomic():
        ledger.grant(allocation, HOUR, review=review, by=review.reviewer)


@pytest.mark.parametrize(
    ("kind", "gpu_seconds"), [("grant", -1), ("grant", 0), ("charge", 1), ("refund", -1)]
)
def test_a_sign_that_does_not_fit_is_refused(allocation: Allocation, kind: str, gpu_seconds: int) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        LedgerEntry.objects.create(allocation=allocation, kind=kind, gpu_seconds=gpu_seconds, reason="so")


def test_a_correction_needs_a_reason(allocation: Allocation, sam: User) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        ledger.adjust(allocation, -HOUR, by=sam, reason="")
    entry = ledger.adjust(
        allocation, -HOUR, by=sam, reason="Counted twice by hand.", cites=LedgerEntry.objects.get()
    )
    assert ledger.balance(allocation).balance == 4999 * HOUR
    assert entry.cites is not None


def test_a_fact_that_changed_is_corrected_at_the_first_price(
    allocation: Allocation, run: UsageRecord
) -> None:
    run.gpu_seconds = 3 * HOUR
    correction = ledger.charge(allocation, run, Decimal("0.5"))
    assert correction is not None
    assert (correction.kind, correction.gpu_seconds, correction.factor) == ("adjustment", -HOUR, Decimal(1))
    assert ledger.balance(allocation).used == 3 * HOUR


def test_a_hold_is_refused_beyond_what_is_available(allocation: Allocation) -> None:
    with transaction.atomic():
        ledger.hold(allocation, 5000 * HOUR, reference="all")
    with pytest.raises(NotEnough) as refused, transaction.atomic():
        ledger.hold(allocation, 1, reference="one more")
    assert (refused.value.wanted, refused.value.balance.available) == (1, 0)


def test_a_hold_is_released_once(allocation: Allocation) -> None:
    HoldFactory.create(allocation=allocation, reference="job")
    assert ledger.release("job")
    assert not ledger.release("job")
    assert not ledger.release("never held")
    assert ledger.balance(allocation).held == 0


@pytest.mark.django_db(transaction=True)
def test_fifty_at_once_against_a_balance_for_ten_are_exactly_ten(allocation: Allocation) -> None:
    each = 500 * HOUR

    def submit(number: int) -> bool:
        try:
            with transaction.atomic():
                ledger.hold(allocation, each, reference=f"job {number}")
        except NotEnough:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(max_workers=16) as threads:
        taken = list(threads.map(submit, range(50)))
    assert taken.count(True) == 10
    assert Hold.objects.open().count() == 10
    assert ledger.balance(allocation).available == 0
