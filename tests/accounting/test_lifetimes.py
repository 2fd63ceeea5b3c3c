"""What the calendar does to allocations: each thing once, however often, late or doubled the worker is rung."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import pytest
import time_machine
from django.db import DatabaseError, connection
from django.utils import timezone

from accounting import ledger, lifetimes, tasks
from accounting.models import (
    Allocation,
    AllocationRequest,
    Hold,
    LedgerEntry,
    Policy,
    Tranche,
    UsageRecord,
)
from accounting.rebuilding import differences
from accounting.usage import record_runs
from portal import mailing
from portal.models import AuditEvent, OutgoingMail, Project, User
from tests.factories import (
    AllocationFactory,
    AllocationRequestFactory,
    HoldFactory,
    ReviewFactory,
    RunFactory,
)

HOUR = 3600
FIRST, LAST = date(2026, 3, 1), date(2026, 8, 31)  # 184 days


def on(day: date, hour: int = 12) -> time_machine.travel:
    return time_machine.travel(datetime.combine(day, time(hour), tzinfo=UTC), tick=False)


@pytest.fixture(autouse=True)
def spring() -> Iterator[None]:
    with on(FIRST):
        yield


@pytest.fixture
def half_year(allocation: Allocation, ivo: User) -> Allocation:
    """5,000 GPU-hours from March to August, with two weeks of grace. Its PI reads the mails."""
    allocation.start, allocation.end = FIRST, LAST
    allocation.usable_until = LAST + timedelta(days=14)
    allocation.save()
    return allocation


def kept(day: date) -> None:
    """The worker was rung on that day: twice, as it happens."""
    with on(day):
        lifetimes.keep(day)
        lifetimes.keep(day)
    assert not list(differences())


def entries(allocation: Allocation) -> list[tuple[str, int]]:
    """Kind and GPU-hours of all but the first grant."""
    return [(entry.kind, entry.gpu_seconds // HOUR) for entry in allocation.entries.order_by("pk")[1:]]


def used(allocation: Allocation, hours: int, day: date = FIRST, name: str = "") -> UsageRecord:
    """A run of one GPU for so many hours, charged."""
    start = datetime.combine(day, time(), tzinfo=UTC)
    run = RunFactory.create(
        start=start, end=start + timedelta(hours=hours), gpus=1, db_index=name or str(hours)
    )
    with on(day + timedelta(days=hours // 24 + 1)):
        record_runs([run], cluster=allocation.cluster, as_of=timezone.now(), in_queue=())
    return UsageRecord.objects.get(identity=run.identity[1])


def subjects(template: str) -> list[str]:
    return [
        str(mailing.message(mail).subject).replace("\u202f", " ")
        for mail in OutgoingMail.objects.filter(template=template)
    ]


# ── Tranches ─────────────────────────────────────────────────────────────────


@pytest.fixture
def tranche(half_year: Allocation) -> Tranche:
    review = ReviewFactory.create(
        request__project=half_year.project,
        request__cluster=half_year.cluster,
        request__kind=AllocationRequest.Kind.SUPPLEMENT,
        request__allocation=half_year,
    )
    return Tranche.objects.create(review=review, gpu_seconds=1000 * HOUR, available_from=date(2026, 5, 1))


def test_a_tranche_is_granted_on_its_day(half_year: Allocation, tranche: Tranche) -> None:
    kept(date(2026, 4, 30))
    assert entries(half_year) == []
    kept(date(2026, 5, 1))
    assert entries(half_year) == [("grant", 1000)]
    assert subjects("tranche_granted") == ["Squeezed light: 1 000 more GPU-hours"]


def test_a_tranche_of_a_closed_project_waits(half_year: Allocation, tranche: Tranche) -> None:
    Project.objects.update(state=Project.State.CLOSED)
    kept(date(2026, 5, 1))
    assert entries(half_year) == []
    Project.objects.update(state=Project.State.ACTIVE)
    kept(date(2026, 5, 2))
    assert entries(half_year) == [("grant", 1000)]


def test_a_tranche_that_was_missed_is_granted_before_the_end_is_settled(
    half_year: Allocation, tranche: Tranche
) -> None:
    with on(date(2026, 9, 15)):
        lifetimes.settle_ended(date(2026, 9, 15))
    kept(date(2026, 9, 15))
    assert entries(half_year) == [("grant", 1000), ("expiry", -6000)]


def test_one_that_cannot_be_done_stops_no_other(
    half_year: Allocation, tranche: Tranche, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken = AllocationFactory.create(cluster=half_year.cluster, start=FIRST - timedelta(days=400))
    settle = ledger.expire

    def expire(allocation: Allocation, gpu_seconds: int, *, reason: str) -> LedgerEntry:
        if allocation == broken:
            raise DatabaseError("the disk is full")
        return settle(allocation, gpu_seconds, reason=reason)

    monkeypatch.setattr(ledger, "expire", expire)
    kept(date(2026, 9, 15))
    broken.refresh_from_db()
    assert broken.settled_at is None and "could not be done" in caplog.text
    assert entries(half_year)[-1] == ("expiry", -6000)


# ── Expiry ───────────────────────────────────────────────────────────────────


def test_what_is_left_expires_after_the_grace_and_not_before(half_year: Allocation) -> None:
    used(half_year, 48)
    kept(date(2026, 9, 14))
    half_year.refresh_from_db()
    assert half_year.state_on(date(2026, 9, 14)) == "grace"
    assert half_year.state_on(date(2026, 9, 15)) == "expired"
    kept(date(2026, 9, 15))
    half_year.refresh_from_db()
    assert entries(half_year) == [("charge", -48), ("expiry", -4952)]
    assert half_year.state_on(date(2026, 9, 15)) == "settled"
    balance = ledger.balance(half_year)
    assert (balance.granted, balance.expired, balance.balance) == (5000 * HOUR, 4952 * HOUR, 0)
    assert subjects("expired") == ["Squeezed light: the GPU-hours have ended"]


def test_the_worker_does_it_when_it_is_rung(half_year: Allocation) -> None:
    with on(date(2026, 9, 15)):
        tasks.keep_allocations()
    assert entries(half_year) == [("expiry", -5000)]


def test_expiry_waits_for_the_last_job(half_year: Allocation) -> None:
    HoldFactory.create(allocation=half_year, reference="long")
    kept(date(2026, 9, 20))
    assert entries(half_year) == []
    ledger.release("long")
    kept(date(2026, 9, 21))
    assert entries(half_year) == [("expiry", -5000)]


def test_a_debt_does_not_expire(half_year: Allocation) -> None:
    used(half_year, 5001)
    kept(date(2027, 1, 1))
    half_year.refresh_from_db()
    assert half_year.settled_at is not None
    assert entries(half_year) == [("charge", -5001)]


def test_what_comes_late_is_charged_and_seen_as_a_debt(half_year: Allocation) -> None:
    kept(date(2026, 9, 15))
    used(half_year, 24, date(2026, 8, 30))
    assert entries(half_year) == [("expiry", -5000), ("charge", -24)]
    assert ledger.balance(half_year).available == -24 * HOUR


def test_what_is_given_back_late_expires_too(half_year: Allocation) -> None:
    record = used(half_year, 48)
    kept(date(2026, 9, 15))
    record.gpu_seconds = 24 * HOUR
    ledger.charge(half_year, record, Decimal(1))
    assert entries(half_year)[2:] == [("adjustment", 24), ("expiry", -24)]
    assert ledger.balance(half_year).balance == 0


def test_what_is_added_by_hand_to_a_settled_one_pays_its_debt_only(half_year: Allocation, sam: User) -> None:
    used(half_year, 5010)
    kept(date(2027, 1, 1))
    ledger.adjust(half_year, 30 * HOUR, by=sam, reason="A night lost to repairs.")
    assert entries(half_year)[1:] == [("adjustment", 30), ("expiry", -20)]


# ── Renewal ──────────────────────────────────────────────────────────────────


@pytest.fixture
def renewal(half_year: Allocation) -> Allocation:
    Policy.objects.create(cluster=half_year.cluster, carry_over_percent=10)
    review = ReviewFactory.create(
        request=AllocationRequestFactory.create(
            project=half_year.project, cluster=half_year.cluster, gpu_hours=2000
        )
    )
    made = Allocation.objects.create(
        project=half_year.project,
        cluster=half_year.cluster,
        start=date(2026, 9, 1),
        end=date(2027, 2, 28),
        usable_until=date(2027, 2, 28),
        follows=half_year,
        review=review,
    )
    ledger.grant(made, 2000 * HOUR, review=review, by=review.reviewer)
    return made


def test_the_policys_share_is_carried_over_and_the_rest_expires(
    half_year: Allocation, renewal: Allocation
) -> None:
    kept(date(2026, 9, 15))
    assert entries(half_year) == [("transfer", -500), ("expiry", -4500)]
    assert entries(renewal) == [("transfer", 500)]
    departure, arrival = LedgerEntry.objects.filter(kind="transfer").order_by("gpu_seconds")
    assert arrival.cites == departure


def test_no_more_is_carried_over_than_is_left(half_year: Allocation, renewal: Allocation) -> None:
    used(half_year, 4960)
    kept(date(2026, 12, 15))
    assert entries(half_year) == [("charge", -4960), ("transfer", -40)]
    assert ledger.balance(renewal).granted == 2040 * HOUR


def test_what_may_be_carried_over_waits_while_the_centre_decides(half_year: Allocation, ivo: User) -> None:
    Policy.objects.create(cluster=half_year.cluster, carry_over_percent=10)
    asked = AllocationRequestFactory.create(
        kind=AllocationRequest.Kind.RENEWAL,
        project=half_year.project,
        cluster=half_year.cluster,
        allocation=half_year,
        created_by=ivo,
    )
    kept(date(2026, 9, 20))
    assert entries(half_year) == []
    AllocationRequest.objects.filter(pk=asked.pk).update(state="rejected")
    kept(date(2026, 9, 21))
    assert entries(half_year) == [("expiry", -5000)]


def test_in_the_overlap_the_one_that_ends_first_pays(half_year: Allocation, renewal: Allocation) -> None:
    used(half_year, 24, date(2026, 9, 5))  # in grace: both could
    assert (ledger.balance(half_year).used, ledger.balance(renewal).used) == (24 * HOUR, 0)
    used(half_year, 12, date(2026, 9, 15))
    assert ledger.balance(renewal).used == 12 * HOUR


def test_what_ran_on_a_suspended_one_is_its_to_pay(half_year: Allocation, renewal: Allocation) -> None:
    Allocation.objects.filter(pk=half_year.pk).update(suspended_at=timezone.now(), suspension_reason="x")
    used(half_year, 24, date(2026, 9, 5))
    assert ledger.balance(half_year).used == 24 * HOUR


# ── Use it or lose it ────────────────────────────────────────────────────────


@pytest.fixture
def checkpoint(half_year: Allocation) -> date:
    """At half of its time, 40 % should be used: on 1 June."""
    Policy.objects.create(cluster=half_year.cluster, checkpoint_percent=50, checkpoint_used_percent=40)
    return FIRST + timedelta(days=92)


def test_what_is_missing_at_the_checkpoint_expires_after_a_warning(
    half_year: Allocation, checkpoint: date
) -> None:
    used(half_year, 240)
    kept(checkpoint - timedelta(days=15))
    assert subjects("checkpoint_warning") == []
    kept(checkpoint - timedelta(days=14))
    assert subjects("checkpoint_warning") == ["Squeezed light: 1 760 GPU-hours would expire on 1 June 2026"]
    kept(checkpoint - timedelta(days=1))
    assert entries(half_year) == [("charge", -240)]
    kept(checkpoint)
    kept(checkpoint + timedelta(days=30))
    assert entries(half_year) == [("charge", -240), ("expiry", -1760)]
    assert len(subjects("checkpoint_warning")) == 1


def test_who_used_enough_loses_nothing_and_is_not_bothered(half_year: Allocation, checkpoint: date) -> None:
    used(half_year, 2000)
    kept(checkpoint - timedelta(days=14))
    kept(checkpoint)
    assert entries(half_year) == [("charge", -2000)]
    assert subjects("checkpoint_warning") == []
    half_year.refresh_from_db()
    assert half_year.checked_at is not None


def test_nobody_loses_hours_without_two_weeks_of_warning(half_year: Allocation, checkpoint: date) -> None:
    late = checkpoint + timedelta(days=20)  # the policy was made after the day that it names
    kept(late)
    assert entries(half_year) == []
    kept(late + timedelta(days=13))
    assert entries(half_year) == []
    kept(late + timedelta(days=14))
    assert entries(half_year) == [("expiry", -2000)]


def test_what_is_held_counts_as_used(half_year: Allocation, checkpoint: date) -> None:
    HoldFactory.create(allocation=half_year, gpu_seconds=1999 * HOUR)
    kept(checkpoint - timedelta(days=14))
    kept(checkpoint)
    assert entries(half_year) == [("expiry", -1)]


def test_who_could_not_use_them_loses_none(half_year: Allocation, checkpoint: date) -> None:
    Allocation.objects.filter(pk=half_year.pk).update(suspended_at=timezone.now(), suspension_reason="x")
    kept(checkpoint - timedelta(days=14))
    kept(checkpoint)
    assert entries(half_year) == []


# ── Reminders ────────────────────────────────────────────────────────────────


def test_the_pis_hear_of_the_end_30_and_7_days_before(half_year: Allocation) -> None:
    for days in (31, 30, 29, 8):
        kept(LAST - timedelta(days=days))
        assert len(subjects("ending_soon")) == (days != 31)
    for days in (7, 1, 0):
        kept(LAST - timedelta(days=days))
    assert subjects("ending_soon") == 2 * ["Squeezed light: the GPU-hours end on 31 August 2026"]
    mail = OutgoingMail.objects.latest("pk")
    assert mail.to == "ivo@example.org"
    body = str(mailing.message(mail).body)
    assert "What is left then can still be used until 14 September 2026." in body
    assert f"/allocations/{half_year.pk}/" in body


def test_a_later_end_is_told_of_anew(half_year: Allocation) -> None:
    kept(LAST - timedelta(days=5))
    Allocation.objects.filter(pk=half_year.pk).update(end=LAST + timedelta(days=14))
    kept(LAST)
    assert len(subjects("ending_soon")) == 2


# ── Two workers at once ──────────────────────────────────────────────────────


@pytest.mark.django_db(transaction=True)
def test_eight_workers_at_once_do_it_once(
    half_year: Allocation, renewal: Allocation, tranche: Tranche, sam: User
) -> None:
    day = date(2026, 9, 15)

    def worker(number: int) -> None:
        try:
            lifetimes.keep(day)
        finally:
            connection.close()

    with on(day), ThreadPoolExecutor(max_workers=8) as threads:
        list(threads.map(worker, range(8)))
    assert sorted(entries(half_year)) == [("expiry", -5400), ("grant", 1000), ("transfer", -600)]
    assert entries(renewal) == [("transfer", 600)]
    assert AuditEvent.objects.filter(action="allocation settled").count() == 1
    assert OutgoingMail.objects.filter(template="expired").count() == 1
    assert not Hold.objects.exists()
