"""Whatever happens to allocations, in whatever order, some things about their ledger are always true."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import pytest
import time_machine
from django.db import transaction
from django.db.models import Sum
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounting import ledger, lifetimes
from accounting.models import (
    Allocation,
    AllocationRequest,
    Cluster,
    LedgerEntry,
    Policy,
    Tranche,
    UsageRecord,
)
from portal.models import Project
from tests.asking import undone
from tests.factories import AllocationFactory, AllocationRequestFactory, HoldFactory, ReviewFactory

FIRST = date(2026, 1, 1)
LAST = FIRST + timedelta(days=99)
BY_DATE: tuple[Callable[[date], object], ...] = (
    lifetimes.grant_due_tranches,
    lifetimes.hold_checkpoints,
    lifetimes.remind_of_ends,
    lifetimes.settle_ended,
)
kept_short = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
amounts = st.integers(1, 10_000)


@dataclass
class Life:
    """An allocation of 10,000 GPU-seconds and its renewal, and what happens to them."""

    allocation: Allocation
    renewal: Allocation
    holds: list[str] = field(default_factory=list)
    runs: list[UsageRecord] = field(default_factory=list)

    def charge(self, gpu_seconds: int) -> None:
        record = UsageRecord.objects.create(
            cluster=self.allocation.cluster, identity=f"run {len(self.runs)}", gpu_seconds=gpu_seconds, gpus=1
        )
        self.runs.append(record)
        ledger.charge(self.allocation, record, Decimal(1))

    def correct(self, gpu_seconds: int) -> None:
        if self.runs:
            self.runs[-1].gpu_seconds = gpu_seconds
            ledger.charge(self.allocation, self.runs[-1], Decimal(1))

    def hold(self, gpu_seconds: int) -> None:
        self.allocation.refresh_from_db()
        if self.allocation.settled_at is not None:
            return  # no job can be held on it any more: ledger.hold says so
        self.holds.append(f"job {len(self.holds)} of {self.allocation.pk}")
        HoldFactory.create(allocation=self.allocation, gpu_seconds=gpu_seconds, reference=self.holds[-1])

    def release(self, gpu_seconds: int) -> None:
        for reference in self.holds:
            ledger.release(reference)

    def move(self, gpu_seconds: int) -> None:
        review = ReviewFactory.create(request__project=self.allocation.project)
        try:
            with transaction.atomic():
                ledger.transfer(
                    self.allocation, self.renewal, gpu_seconds, review=review, by=None, reason="Moved."
                )
        except ledger.NotEnough:
            assert ledger.balance(self.allocation).available < gpu_seconds

    def written(self) -> list[tuple[int, str, int]]:
        both = LedgerEntry.objects.filter(allocation__in=(self.allocation, self.renewal))
        rows = both.values_list("allocation", "kind", "gpu_seconds")
        return sorted((pk - self.allocation.pk, kind, amount) for pk, kind, amount in rows)


@pytest.fixture
def fresh_life(firefly: Cluster, project: Project) -> Callable[[], Life]:
    Policy.objects.create(
        cluster=firefly, carry_over_percent=20, checkpoint_percent=50, checkpoint_used_percent=60
    )

    def made() -> Life:
        allocation = AllocationFactory.create(
            project=project, cluster=firefly, start=FIRST, end=LAST, gpu_hours=0
        )
        review = ReviewFactory.create(request__project=project, request__cluster=firefly)
        ledger.grant(allocation, 10_000, review=review, by=None)
        more = ReviewFactory.create(
            request=AllocationRequestFactory.create(
                project=project,
                cluster=firefly,
                kind=AllocationRequest.Kind.SUPPLEMENT,
                allocation=allocation,
            )
        )
        for day in (30, 60, 120):
            Tranche.objects.create(
                review=more, gpu_seconds=1000 * day, available_from=FIRST + timedelta(days=day)
            )
        renewal = Allocation.objects.create(
            project=project,
            cluster=firefly,
            start=LAST + timedelta(days=1),
            end=LAST + timedelta(days=400),
            usable_until=LAST + timedelta(days=400),
            follows=allocation,
            review=ReviewFactory.create(request__project=project),
        )
        return Life(allocation, renewal)

    return made


deeds = st.tuples(st.sampled_from(["charge", "correct", "hold", "release", "move"]), amounts)
pasts = st.lists(st.tuples(st.integers(0, 130), deeds), max_size=12).map(sorted)


def lived(
    life: Life, past: list[tuple[int, tuple[str, int]]], rounds: list[Callable[[date], object]]
) -> None:
    """Day by day what happens, and before each deed and at the end one round of the worker."""
    for days, (deed, amount) in past:
        keep(days, rounds)
        getattr(life, deed)(amount)
    life.release(0)
    keep(130, rounds)
    keep(150, rounds)


def keep(days: int, rounds: list[Callable[[date], object]]) -> None:
    day = FIRST + timedelta(days=days)
    with time_machine.travel(datetime.combine(day, time(1), tzinfo=UTC), tick=False):
        for by_date in rounds:
            by_date(day)


@kept_short
@given(past=pasts)
def test_what_moves_is_neither_made_nor_lost(
    fresh_life: Callable[[], Life], past: list[tuple[int, tuple[str, int]]]
) -> None:
    with undone():
        life = fresh_life()
        lived(life, past, list(BY_DATE))
        moved = LedgerEntry.objects.filter(kind="transfer")
        assert (moved.aggregate(sum=Sum("gpu_seconds"))["sum"] or 0) == 0
        for entry in moved.filter(gpu_seconds__gt=0).select_related("cites"):
            assert entry.cites is not None and entry.cites.gpu_seconds == -entry.gpu_seconds


@kept_short
@given(past=pasts)
def test_expiry_leaves_nothing_and_never_makes_a_debt(
    fresh_life: Callable[[], Life], past: list[tuple[int, tuple[str, int]]]
) -> None:
    with undone():
        life = fresh_life()
        lived(life, past, list(BY_DATE))
        life.allocation.refresh_from_db()
        assert life.allocation.settled_at is not None
        assert ledger.balance(life.allocation).balance <= 0
        running = 0
        for entry in life.allocation.entries.order_by("pk"):
            running += entry.gpu_seconds
            assert entry.kind != "expiry" or running >= 0


@kept_short
@given(
    past=pasts,
    rounds=st.lists(st.sampled_from(BY_DATE), max_size=6).flatmap(
        lambda more: st.permutations([*BY_DATE, *more])
    ),
)
def test_the_order_and_number_of_rounds_make_no_difference(
    fresh_life: Callable[[], Life],
    past: list[tuple[int, tuple[str, int]]],
    rounds: list[Callable[[date], object]],
) -> None:
    outcomes = []
    for order in (list(BY_DATE), rounds):
        with undone():
            life = fresh_life()
            lived(life, past, order)
            outcomes.append(life.written())
    assert outcomes[0] == outcomes[1]
