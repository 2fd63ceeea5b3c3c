"""Our sums held against the scheduler's: what agrees, which causes are found, and what stays open."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from django.utils import timezone

from accounting import reconciling
from accounting.actions.reconciling import explain
from accounting.books import Books
from accounting.models import Cluster, Discrepancy, Outcome, Reconciliation
from accounting.runs import Run
from accounting.usage import record_runs
from portal import mailing
from portal.models import AuditEvent, OutgoingMail, User
from portal.transitions import Overtaken
from tests.factories import CollectionFactory, RunFactory

DAY = date(2026, 3, 10)
MIDNIGHT = datetime(2026, 3, 10, tzinfo=UTC)
END = MIDNIGHT + timedelta(days=1)
LATER = MIDNIGHT + timedelta(days=3)
HOUR = 3600
State, Cause = Discrepancy.State, Discrepancy.Cause


@pytest.fixture
def read(firefly: Cluster) -> Cluster:
    """Its accounting is read to well after the day."""
    CollectionFactory.create(cluster=firefly, complete_until=LATER)
    return firefly


def at(hour: float, hours: float = 1, **said: object) -> Run:
    start = MIDNIGHT + timedelta(hours=hour)
    return RunFactory.create(**{"start": start, "end": start + timedelta(hours=hours), **said})


def ran(cluster: Cluster, *runs: Run, as_of: datetime = LATER, in_queue: tuple[str, ...] = ()) -> None:
    record_runs(runs, cluster=cluster, as_of=as_of, in_queue=in_queue)


def books(until: datetime = END, idle: int = 0, **by_account: int) -> Books:
    return Books({name.replace("_", "-"): held for name, held in by_account.items()}, until, idle)


def compared(cluster: Cluster, said: Books, day: date = DAY) -> Reconciliation:
    reconciling.compare(cluster, day, said)
    return Reconciliation.objects.with_counts().get(cluster=cluster, day=day)


def the_one() -> Discrepancy:
    return Discrepancy.objects.get()


# ── What agrees ──────────────────────────────────────────────────────────────


def test_the_same_sums_agree(read: Cluster) -> None:
    ran(read, at(1), at(5, account="other"), at(7, gpus=0, account="cpus"))
    day = compared(read, books(squeezed_light=2 * HOUR, other=2 * HOUR))
    assert (day.outcome, day.ours, day.theirs, day.until) == (Outcome.AGREES, 4 * HOUR, 4 * HOUR, END)
    assert not Discrepancy.objects.exists()


def test_a_job_over_midnight_counts_on_both_days(read: Cluster) -> None:
    ran(read, at(23.5))
    assert compared(read, books(squeezed_light=HOUR)).outcome == Outcome.AGREES
    after = DAY + timedelta(days=1)
    assert (
        compared(read, books(END + timedelta(days=1), squeezed_light=HOUR), after).outcome == Outcome.AGREES
    )


def test_a_job_that_goes_on_counts_to_the_end_of_the_day(read: Cluster) -> None:
    """Although it was last seen in the middle of it."""
    running = at(22, end=None, state="RUNNING", job_id_raw="7")
    ran(read, running, as_of=END - timedelta(hours=1), in_queue=("7",))
    assert compared(read, books(squeezed_light=4 * HOUR)).outcome == Outcome.AGREES


def test_a_job_seen_running_after_the_day_held_all_of_it(read: Cluster) -> None:
    ran(read, at(22, end=None, state="RUNNING", job_id_raw="7"), in_queue=("7",))
    assert compared(read, books(squeezed_light=4 * HOUR)).outcome == Outcome.AGREES


def test_one_second_is_a_difference(read: Cluster) -> None:
    ran(read, at(1))
    assert compared(read, books(squeezed_light=2 * HOUR + 1)).outcome == Outcome.DIFFERS
    one = the_one()
    assert (one.account, one.day, one.difference, one.state, one.cause) == (
        "squeezed-light",
        DAY,
        -1,
        "open",
        "",
    )


def test_accounts_of_which_only_one_side_knows_differ(read: Cluster) -> None:
    ran(read, at(1, account="ours"))
    assert compared(read, books(theirs=HOUR)).open_count == 2


# ── What is not known ────────────────────────────────────────────────────────


def test_it_compares_only_so_far_as_the_scheduler_has_added_up(read: Cluster) -> None:
    ran(read, at(1), at(20))
    day = compared(read, books(MIDNIGHT + timedelta(hours=12), squeezed_light=2 * HOUR))
    assert (day.outcome, day.ours) == (Outcome.BEHIND, 2 * HOUR)
    assert compared(read, books(squeezed_light=4 * HOUR)).outcome == Outcome.AGREES


def test_nothing_added_up_is_not_equal_to_nothing(read: Cluster) -> None:
    assert compared(read, books(MIDNIGHT)).outcome == Outcome.BEHIND


def test_books_that_could_not_be_read_are_neither_equal_nor_zero(read: Cluster) -> None:
    ran(read, at(1))
    compared(read, books(squeezed_light=HOUR))
    reconciling.unread(read, DAY, "connection refused")
    day = Reconciliation.objects.with_counts().get()
    assert (day.outcome, day.ours, day.theirs, day.trouble) == (
        Outcome.UNREAD,
        None,
        None,
        "connection refused",
    )
    assert the_one().state == State.OPEN


def test_what_the_portal_itself_has_not_read_can_not_be_compared(firefly: Cluster) -> None:
    assert compared(firefly, books()).outcome == Outcome.UNREAD
    CollectionFactory.create(cluster=firefly, complete_until=END - timedelta(minutes=1))
    assert compared(firefly, books()).outcome == Outcome.UNREAD


def test_hours_not_added_up_yet_end_no_discrepancy(read: Cluster) -> None:
    ran(read, at(20))
    compared(read, books())
    compared(read, books(MIDNIGHT + timedelta(hours=12)))
    assert the_one().state == State.OPEN


# ── Causes ───────────────────────────────────────────────────────────────────


def test_hours_of_another_zone_are_found_to_the_minute(read: Cluster) -> None:
    ran(read, at(-3, 5, account="early"), at(22, 5, account="late", gpus=1))
    day = compared(read, books(early=2 * 9000, late=5400))
    assert (day.outcome, day.zone_minutes, day.explained_count) == (Outcome.EXPLAINED, 30, 2)
    assert {one.cause for one in Discrepancy.objects.all()} == {Cause.ZONE}


def test_a_zone_that_another_day_has_shown_explains_a_day_of_few_jobs(read: Cluster) -> None:
    ran(read, at(-3, 5, account="early"), at(22, 5, account="late", gpus=1), at(71.8, 0.1))
    after = DAY + timedelta(days=2)
    end = END + timedelta(days=2)
    assert compared(read, books(end), after).outcome == Outcome.DIFFERS
    compared(read, books(early=2 * 9000, late=5400))
    assert compared(read, books(end), after).outcome == Outcome.EXPLAINED


def test_a_job_lost_in_the_day_s_last_hour_is_no_zone(read: Cluster) -> None:
    ran(read, at(23.5, 0.25, account="lost"), at(5))
    assert compared(read, books(squeezed_light=2 * HOUR)).outcome == Outcome.DIFFERS


def test_hours_that_lie_on_another_day_even_out(read: Cluster) -> None:
    """One short job before midnight: it fits many zones, but the sum over the days is the same."""
    ran(read, at(23.9, 0.05))
    compared(read, books())
    after = DAY + timedelta(days=1)
    compared(read, books(END + timedelta(days=1), squeezed_light=360), after)
    assert Discrepancy.objects.open().count() == 2
    reconciling.even_out(read, [DAY, after])
    assert {(one.state, one.cause) for one in Discrepancy.objects.all()} == {(State.EXPLAINED, Cause.ZONE)}


def test_a_runaway_job_is_counted_by_the_scheduler_alone(read: Cluster) -> None:
    """It lost its end: Slurm counts on to the last hour that it added up, we count nothing."""
    ran(read, at(20, end=None, state="RUNNING"), at(1))
    day = compared(read, books(squeezed_light=(8 + 2) * HOUR))
    assert (day.outcome, the_one().cause) == (Outcome.EXPLAINED, Cause.RUNAWAY)


def test_another_amount_than_the_runaway_s_stays_open(read: Cluster) -> None:
    ran(read, at(20, end=None, state="RUNNING"), at(1))
    assert compared(read, books(squeezed_light=10 * HOUR + 1)).outcome == Outcome.DIFFERS


def test_idle_reservations_explain_no_more_than_they_held(read: Cluster) -> None:
    ran(read, at(1), at(2, account="other"))
    said = {"squeezed-light": 2 * HOUR + 60, "other": 2 * HOUR + 50}
    assert compared(read, Books(said, END, 110)).outcome == Outcome.EXPLAINED
    assert {one.cause for one in Discrepancy.objects.all()} == {Cause.RESERVATION}
    assert compared(read, Books(said, END, 109)).open_count == 1


def test_less_than_ours_is_never_a_reservation(read: Cluster) -> None:
    ran(read, at(1))
    assert compared(read, books(idle=10 * HOUR, squeezed_light=HOUR)).outcome == Outcome.DIFFERS


# ── Their life ───────────────────────────────────────────────────────────────


@pytest.fixture
def differing(read: Cluster) -> Discrepancy:
    ran(read, at(1))
    compared(read, books(squeezed_light=HOUR))
    return the_one()


def test_it_is_gone_once_the_sums_agree(read: Cluster, differing: Discrepancy) -> None:
    day = compared(read, books(squeezed_light=2 * HOUR))
    assert (day.outcome, the_one().state) == (Outcome.AGREES, State.GONE)


def test_staff_explain_it_and_it_stays_so_while_the_figures_do(
    read: Cluster, differing: Discrepancy, sam: User
) -> None:
    explain(by=sam, discrepancy=differing, explanation="slurmdbd lost a record.")
    event = AuditEvent.objects.about(differing).get()
    assert (event.action, event.actor) == ("discrepancy explained", sam)
    assert compared(read, books(squeezed_light=HOUR)).outcome == Outcome.EXPLAINED
    one = the_one()
    assert (one.cause, one.explanation, one.explained_by) == (Cause.BY_HAND, "slurmdbd lost a record.", sam)


def test_other_figures_open_it_again(read: Cluster, differing: Discrepancy, sam: User) -> None:
    explain(by=sam, discrepancy=differing, explanation="slurmdbd lost a record.")
    assert compared(read, books(squeezed_light=HOUR - 1)).outcome == Outcome.DIFFERS
    one = the_one()
    assert (one.explanation, one.explained_by, one.theirs) == ("", None, HOUR - 1)
    assert one.opened_at > differing.opened_at


def test_what_is_not_open_can_not_be_explained(read: Cluster, differing: Discrepancy, sam: User) -> None:
    compared(read, books(squeezed_light=2 * HOUR))
    with pytest.raises(Overtaken):
        explain(by=sam, discrepancy=differing, explanation="Too late.")


def test_comparing_again_changes_nothing(read: Cluster, differing: Discrepancy) -> None:
    compared(read, books(squeezed_light=HOUR))
    assert (the_one().pk, the_one().opened_at) == (differing.pk, differing.opened_at)


def test_staff_are_told_once_of_what_is_newly_open(read: Cluster, sam: User, mei: User) -> None:
    ran(read, at(1))
    for _night in range(2):
        began = timezone.now()
        compared(read, books(squeezed_light=HOUR))
        reconciling.tell_staff(read, began)
    mail = OutgoingMail.objects.get()
    assert (mail.to, mailing.message(mail).subject) == (
        "sam@example.org",
        "Firefly: 1 sum differs from the scheduler's",
    )


# ── Which days ───────────────────────────────────────────────────────────────


def test_a_night_compares_the_eight_days_that_are_over() -> None:
    days = reconciling.last_days(date(2026, 3, 3))
    assert (days[0], days[-1], len(days)) == (date(2026, 2, 23), date(2026, 3, 2), 8)


def test_a_month_is_compared_day_by_day() -> None:
    days = reconciling.month_before(date(2026, 3, 9))
    assert (days[0], days[-1], len(days)) == (date(2026, 2, 1), date(2026, 2, 28), 28)
