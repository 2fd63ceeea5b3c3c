"""The database keeps what the ledger's entries sum up to: always exactly that, whoever adds them, and how."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounting import ledger, summing
from accounting.models import Allocation, LedgerEntry, LedgerSum, UsageRecord
from jobs import balance_checks
from tests.accounting.test_ledger_properties import Life, deeds, fresh_life
from tests.asking import undone
from tests.factories import AllocationFactory, ReviewFactory

pytestmark = pytest.mark.django_db
__all__ = ["fresh_life"]  # a fixture
HOUR = 3600
GRANTED = 5000 * HOUR


def entries_say() -> dict[summing.Cell, summing.Total]:
    """Added up here, entry by entry."""
    found: dict[summing.Cell, summing.Total] = {}
    for one in LedgerEntry.objects.all():
        cell = summing.Cell(one.allocation_id, one.kind, one.usage_record_id is not None)
        before = found.get(cell, summing.Total())
        found[cell] = summing.Total(before.gpu_seconds + one.gpu_seconds, before.entries + 1)
    return found


def by_hand(*rows: tuple[Allocation, int]) -> None:
    """Corrections, in one INSERT."""
    values = ", ".join(["(%s, 'adjustment', %s, CURRENT_TIMESTAMP, 'by hand')"] * len(rows))
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO accounting_ledgerentry (allocation_id, kind, gpu_seconds, at, reason) VALUES {values}",  # noqa: S608
            [value for allocation, seconds in rows for value in (allocation.pk, seconds)],
        )


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(past=st.lists(st.one_of(deeds, st.tuples(st.just("by hand"), st.integers(1, 10_000))), max_size=15))
def test_whatever_happens_the_sums_are_those_of_the_entries(
    fresh_life: Callable[[], Life], past: list[tuple[str, int]]
) -> None:
    with undone():
        life = fresh_life()
        for deed, amount in past:
            if deed == "by hand":
                by_hand((life.allocation, amount), (life.renewal, -amount), (life.allocation, 1))
            else:
                getattr(life, deed)(amount)
        assert summing.as_kept() == entries_say() == summing.of_entries(LedgerEntry.objects.all())
        for one in (life.allocation, life.renewal):
            assert ledger.balance(one).balance == sum(entry.gpu_seconds for entry in one.entries.all())


def test_many_in_one_statement_are_added_up(allocation: Allocation) -> None:
    records = UsageRecord.objects.bulk_create(
        UsageRecord(cluster=allocation.cluster, identity=f"run {n}", gpu_seconds=n, gpus=1)
        for n in range(1, 501)
    )
    bills = [ledger.Bill(one.pk, one.gpu_seconds, Decimal(1)) for one in records]
    assert ledger.charge_new(allocation, bills) == 500
    assert summing.as_kept() == entries_say()
    assert (ledger.balance(allocation).used, ledger.balance(allocation).runs) == (500 * 501 // 2, 500)


def test_what_is_rolled_back_was_never_added(allocation: Allocation) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        by_hand((allocation, HOUR))
        assert ledger.balance(allocation).granted == GRANTED + HOUR
        _ = 1 // 0
    assert ledger.balance(allocation).granted == GRANTED
    assert summing.as_kept() == entries_say()


def test_entries_that_are_refused_add_nothing(allocation: Allocation) -> None:
    review = LedgerEntry.objects.get().review
    again = LedgerEntry(allocation=allocation, kind="grant", gpu_seconds=HOUR, review=review)
    LedgerEntry.objects.bulk_create([again], ignore_conflicts=True)
    assert summing.as_kept() == entries_say()
    assert ledger.balance(allocation).granted == GRANTED


@pytest.mark.django_db(transaction=True)
def test_two_who_add_at_once_are_both_counted(allocation: Allocation) -> None:
    other = AllocationFactory.create(project=allocation.project)

    def add(number: int) -> None:
        pair = (allocation, other) if number % 2 else (other, allocation)
        by_hand(*((one, number + 1) for one in pair))
        connection.close()

    with ThreadPoolExecutor(max_workers=8) as threads:
        list(threads.map(add, range(40)))
    assert summing.as_kept() == entries_say()
    assert ledger.balance(allocation).granted == GRANTED + 40 * 41 // 2


TAMPERED: dict[str, tuple[Callable[[], object], set[tuple[str, int, int]]]] = {
    "another sum": (
        lambda: LedgerSum.objects.update(gpu_seconds=GRANTED + 1),
        {("grant", GRANTED, GRANTED + 1)},
    ),
    "another count": (lambda: LedgerSum.objects.update(entries=7), {("grant entries", 1, 7)}),
    "a sum that is gone": (
        lambda: LedgerSum.objects.all().delete(),
        {("grant", GRANTED, 0), ("grant entries", 1, 0)},
    ),
    "a sum of nothing": (
        lambda: LedgerSum.objects.create(
            allocation=Allocation.objects.get(), kind="charge", of_runs=True, gpu_seconds=-9, entries=0
        ),
        # And so the allocation used more than its runs cost.
        {("charge of runs", 0, -9), ("", 0, 9)},
    ),
}


@pytest.mark.parametrize("how", TAMPERED)
def test_the_nightly_check_finds_a_sum_that_is_not_its_entries_and_it_is_made_anew(
    allocation: Allocation, how: str
) -> None:
    tamper, expected = TAMPERED[how]
    assert balance_checks.found() == []
    tamper()
    found = {
        (one.subject.removeprefix(f"allocation {allocation.pk}").strip(), one.expected, one.found)
        for one in balance_checks.found()
    }
    assert found == expected
    said = StringIO()
    call_command("sum_ledger", stdout=said)
    assert said.getvalue().startswith(f"allocation {allocation.pk} ")
    assert summing.as_kept() == entries_say()
    assert balance_checks.found() == []
    call_command("sum_ledger", stdout=(quiet := StringIO()))
    assert quiet.getvalue() == "Every sum is what its entries are.\n"


def test_reading_a_balance_reads_no_entry(allocation: Allocation) -> None:
    ReviewFactory.create()
    asked: list[str] = []

    def note(execute: Callable[..., object], sql: str, *rest: object) -> object:
        asked.append(sql)
        return execute(sql, *rest)

    with connection.execute_wrapper(note):
        assert ledger.balance(allocation).available == GRANTED
    assert not [sql for sql in asked if "ledgerentry" in sql]
