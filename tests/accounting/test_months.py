"""A closed month never changes: what becomes known of it later is a correction, dated in an open month."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounting import months
from accounting.actions.months import close_month
from accounting.actions.policies import set_policy
from accounting.actions.reconciling import explain
from accounting.models import (
    Allocation,
    ClosedMonth,
    Cluster,
    GpuWeight,
    LedgerEntry,
    ReadMonth,
    UsageCorrection,
    UsageDay,
    UsageRecord,
)
from accounting.months import NotYet
from accounting.periods import Month, Period
from accounting.reports import programmes
from accounting.reports.corrections import corrections_in
from accounting.reports.programmes import Scope
from accounting.reports.spending import shares
from accounting.reports.usage_rows import usage
from accounting.runs import Run
from accounting.usage import record_runs
from portal.models import AuditEvent, Project, User
from portal.transitions import Overtaken
from tests.accounting.test_usage_properties import BEGIN, histories
from tests.factories import ClusterFactory, DiscrepancyFactory, ProjectFactory, RunFactory
from tests.pages import browser, queries_of, words

MARCH, APRIL = Month(2026, 3), Month(2026, 4)
NOW = datetime(2026, 4, 20, 12, tzinfo=UTC)
PAGE = "/clusters/firefly/months/"
HOUR = 3600


@pytest.fixture(autouse=True)
def in_april() -> Any:
    with time_machine.travel(NOW, tick=False):
        yield


def read(cluster: Cluster, month: Month = MARCH) -> None:
    """Its records were read to the end, after it was over."""
    ReadMonth.objects.create(
        cluster=cluster, month=month.first, read_at=months.end_of(month) + months_settled
    )


months_settled = timedelta(days=1)


def record(cluster: Cluster, *runs: Run, in_queue: tuple[str, ...] = ()) -> None:
    record_runs(runs, cluster=cluster, as_of=NOW, in_queue=in_queue)


def a_run(day: int = 10, hours: int = 1, **changes: Any) -> Run:
    start = changes.pop("start", datetime(2026, 3, day, 12, tzinfo=UTC))
    made: Run = RunFactory.create(start=start, end=start + timedelta(hours=hours), **changes)
    return made


def all_days() -> list[Any]:
    return list(UsageDay.objects.order_by("pk").values())


@pytest.fixture
def closed(sam: User, allocation: Allocation) -> ClosedMonth:
    """March, with one run of 2 GPU-hours on its 10th day."""
    record(allocation.cluster, a_run(db_index="1"))
    read(allocation.cluster)
    return close_month(by=sam, cluster=allocation.cluster, month=MARCH)


# ── Closing ──────────────────────────────────────────────────────────────────


def test_closing_keeps_the_sum_and_who_did_it(closed: ClosedMonth, sam: User) -> None:
    assert (closed.gpu_seconds, closed.closed_by) == (2 * HOUR, sam)
    event = AuditEvent.objects.get(action="month closed")
    assert (event.actor, event.detail["month"], event.detail["gpu_seconds"]) == (sam, "2026-03", 7200)


def test_only_staff_close(closed: ClosedMonth, ann: User, ivo: User) -> None:
    for who in (ann, ivo):
        with pytest.raises(PermissionDenied):
            close_month(by=who, cluster=closed.cluster, month=APRIL)


def test_a_month_that_is_not_over_or_was_not_read_since_can_not_be_closed(
    sam: User, firefly: Cluster
) -> None:
    with pytest.raises(NotYet, match="not over yet"):
        close_month(by=sam, cluster=firefly, month=APRIL)
    ReadMonth.objects.create(
        cluster=firefly, month=MARCH.first, read_at=months.end_of(MARCH) - timedelta(hours=1)
    )
    with pytest.raises(NotYet, match="have not been read to the end"):
        close_month(by=sam, cluster=firefly, month=MARCH)
    assert not ClosedMonth.objects.exists()


def test_of_a_cluster_that_takes_no_jobs_staff_say_that_the_import_was_whole(sam: User, db: None) -> None:
    ember = ClusterFactory.create(name="ember", accepts_jobs=False)
    record(ember, a_run())
    assert "Close March 2026" in words(browser(sam).get("/clusters/ember/months/"))
    assert close_month(by=sam, cluster=ember, month=MARCH).read_at is None
    assert "It takes no jobs" in words(browser(sam).get("/jobs/clusters/ember/"))


def test_nobody_closes_twice(closed: ClosedMonth, sam: User) -> None:
    with pytest.raises(Overtaken, match="closed already"):
        close_month(by=sam, cluster=closed.cluster, month=MARCH)


def test_a_month_whose_sums_differ_from_the_schedulers_waits_until_somebody_says_why(
    sam: User, firefly: Cluster
) -> None:
    read(firefly)
    difference = DiscrepancyFactory.create(cluster=firefly, day=MARCH.first)
    with pytest.raises(NotYet, match="On 1 day of March 2026 our sums differ"):
        close_month(by=sam, cluster=firefly, month=MARCH)
    explain(by=sam, discrepancy=difference, explanation="A job lost its end.")
    assert close_month(by=sam, cluster=firefly, month=MARCH)


def test_by_the_policy_it_is_closed_so_many_days_after_its_end(sam: User, firefly: Cluster) -> None:
    read(firefly)
    assert months.close_due() == []  # by hand
    set_policy(by=sam, cluster=firefly, close_months_after_days=20)
    assert months.close_due() == []
    set_policy(by=sam, cluster=firefly, close_months_after_days=19)
    assert [(one.month, one.closed_by) for one in months.close_due()] == [(MARCH.first, None)]
    assert months.close_due() == []


def test_the_database_itself_keeps_both(closed: ClosedMonth) -> None:
    record(closed.cluster, a_run(db_index="2"))
    for row in (closed, UsageCorrection.objects.get()):
        with pytest.raises(IntegrityError), transaction.atomic():
            type(row)._default_manager.filter(pk=row.pk).update(gpu_seconds=1)
        with pytest.raises(IntegrityError), transaction.atomic():
            type(row)._default_manager.filter(pk=row.pk)._raw_delete("default")


# ── Corrections ──────────────────────────────────────────────────────────────


def test_a_record_that_comes_late_is_entered_today(closed: ClosedMonth, mei: User) -> None:
    before = all_days()
    record(closed.cluster, a_run(day=31, hours=24, db_index="2", gpus=3))
    [correction] = UsageCorrection.objects.all()
    assert (correction.day, correction.dated, correction.reason) == (date(2026, 3, 31), NOW.date(), "late")
    assert (correction.gpu_seconds, correction.record.identity) == (3 * 12 * HOUR, "2")
    assert [day for day in all_days() if day in before] == before
    assert (
        UsageDay.objects.get(day=date(2026, 4, 1)).gpu_seconds == 3 * 12 * HOUR
    )  # its part of the open month


def test_a_record_that_the_scheduler_corrects_is_entered_as_the_difference(closed: ClosedMonth) -> None:
    before = all_days()
    start = datetime(2026, 3, 10, 12, tzinfo=UTC)
    record(closed.cluster, a_run(db_index="1", start=start + timedelta(minutes=30)))
    record(closed.cluster, a_run(db_index="1", gpus=1))
    assert list(UsageCorrection.objects.order_by("pk").values_list("gpu_seconds", "reason")) == [
        (-HOUR, "changed")
    ]
    assert all_days() == before
    assert LedgerEntry.objects.filter(kind="adjustment").get().gpu_seconds == HOUR


def test_a_run_over_the_months_end_that_ends_corrects_nothing(sam: User, allocation: Allocation) -> None:
    cluster = allocation.cluster
    running = a_run(day=31, db_index="5", job_id_raw="5", hours=1)._replace(end=None, state="RUNNING")
    record(cluster, running, in_queue=("5",))
    read(cluster)
    close_month(by=sam, cluster=cluster, month=MARCH)
    assert not UsageDay.objects.filter(day__lte=MARCH.last, provisional_gpu_seconds__gt=0).exists()
    record(cluster, running._replace(end=NOW - timedelta(hours=1), state="COMPLETED"))
    assert not UsageCorrection.objects.exists()
    record(cluster, running, in_queue=())  # a runaway, after all
    assert UsageCorrection.objects.get().gpu_seconds == -2 * 12 * HOUR


def test_a_closed_month_keeps_its_owner(sam: User, allocation: Allocation) -> None:
    cluster = allocation.cluster
    march, april = a_run(account="new"), a_run(account="new", start=datetime(2026, 4, 2, tzinfo=UTC))
    record(cluster, march, april)
    read(cluster)
    close_month(by=sam, cluster=cluster, month=MARCH)
    project = ProjectFactory.create(account="new")
    record(cluster, march, april)
    owners = dict(UsageDay.objects.values_list("day", "project"))
    assert owners == {date(2026, 3, 10): None, date(2026, 4, 2): project.pk}
    assert not UsageCorrection.objects.exists()


def test_what_is_read_again_writes_nothing(closed: ClosedMonth) -> None:
    late = [a_run(db_index=str(n)) for n in range(2, 6)]
    record(closed.cluster, *late)
    with CaptureQueriesContext(connection) as queries:
        record(closed.cluster, *late)
    assert not [
        query["sql"]
        for query in queries
        if query["sql"].startswith(("INSERT", "UPDATE", "DELETE", "COPY")) and '"pg_temp' not in query["sql"]
    ]
    assert UsageCorrection.objects.count() == 4


# ── Whatever comes, in whatever order ────────────────────────────────────────


def facts() -> Counter[Any]:
    """GPU-seconds by day, as the records say."""
    found: Counter[Any] = Counter()
    for row in UsageRecord.objects.exclude(held_until=None):
        cursor = row.start
        while cursor and row.held_until and cursor < row.held_until:
            end = min(row.held_until, (cursor + timedelta(days=1)).replace(hour=0, minute=0, second=0))
            found[cursor.date()] += row.gpus * int((end - cursor).total_seconds())
            cursor = end
    return found


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=histories, after=histories, shut=st.sets(st.sampled_from([Month(2026, 2), MARCH])))
def test_days_and_corrections_sum_to_the_records_and_closed_days_never_change(
    allocation: Allocation, sam: User, before: list[Run], after: list[Run], shut: set[Month]
) -> None:
    cluster, as_of = allocation.cluster, BEGIN + timedelta(days=40)
    with transaction.atomic():
        for run in before:
            record_runs([run], cluster=cluster, as_of=as_of, in_queue=("1", "3"))
        for month in shut:
            read(cluster, month)
            close_month(by=sam, cluster=cluster, month=month)
        final = list(
            UsageDay.objects.filter(day__month__in=[one.month for one in shut]).order_by("pk").values()
        )
        for run in after:
            record_runs([run], cluster=cluster, as_of=as_of, in_queue=("1", "3"))
        still = UsageDay.objects.filter(day__month__in=[one.month for one in shut]).order_by("pk").values()
        assert list(still) == final
        told: Counter[Any] = Counter()
        for model in (UsageDay, UsageCorrection):
            for day, seconds in model.objects.values_list("day", "gpu_seconds"):
                told[day] += seconds
        assert {day: sum_ for day, sum_ in told.items() if sum_} == {d: s for d, s in facts().items() if s}
        months_ = {(day.year, day.month) for day in UsageCorrection.objects.values_list("day", flat=True)}
        assert months_ <= {(month.year, month.month) for month in shut}
        transaction.set_rollback(True)


# ── Reports ──────────────────────────────────────────────────────────────────


def test_a_closed_months_report_stays_and_the_correction_counts_when_it_came(
    closed: ClosedMonth, project: Project, mei: User
) -> None:
    def used(month: Month) -> int:
        report = programmes.programme(Scope(), Period(month, month), as_of=NOW)
        assert programmes.headline(Scope(), Period(month, month)).used == report.usage.total.gpu_seconds
        return report.usage.total.gpu_seconds

    assert (used(MARCH), used(APRIL)) == (2 * HOUR, 0)
    record(closed.cluster, a_run(db_index="2"), a_run(db_index="1", gpus=1))
    assert (used(MARCH), used(APRIL)) == (2 * HOUR, HOUR)
    by_day = {row.day: row.gpu_seconds for row in usage("day")}
    assert by_day == {date(2026, 3, 10): 3 * HOUR}  # facts stay on their day
    [share] = [one for one in shares(project) if one.gpu_seconds]
    assert share.gpu_seconds == 3 * HOUR


def test_the_report_of_corrections_has_both_figures(closed: ClosedMonth, project: Project) -> None:
    GpuWeight.objects.create(
        cluster=closed.cluster, gpu_type="a100", weight=Decimal("0.5"), valid_from=date(2026, 1, 1)
    )
    record(closed.cluster, a_run(db_index="2"), a_run(db_index="3", account="nobodys"))
    found = corrections_in(Scope(), Period(APRIL, APRIL), as_of=NOW)
    rows = [(str(row.dated), str(row.month), row.kind, row.name, row.gpu_seconds) for row in found.rows]
    institution = project.lab.institution.name
    assert rows == [
        ("2026-04", "2026-03", "institution", institution, 2 * HOUR),
        ("2026-04", "2026-03", "unassigned", "nobodys", 2 * HOUR),
    ]
    assert [row.weighted_gpu_seconds for row in found.rows] == [HOUR, HOUR]
    assert corrections_in(Scope(), Period(MARCH, MARCH), as_of=NOW).rows == ()


def test_a_funder_reads_sums_in_which_nobody_can_be_told_apart(
    closed: ClosedMonth, fay: User, sam: User, project: Project
) -> None:
    record(closed.cluster, a_run(db_index="2", job_id="4711"), a_run(db_index="3", account="nobodys"))
    page = words(browser(fay).get("/reports/corrections/"))
    assert "fewer than three active people" in page and "2.00" in page
    assert not any(word in page for word in ("4711", "fp-mei", "nobodys", project.lab.institution.name))
    sheet = b"".join(browser(fay).get("/reports/corrections.csv")).decode()
    assert "few" in sheet and project.lab.institution.name not in sheet
    told = browser(fay).get("/api/v1/usage-corrections/").json()
    assert [(row["kind"], row["gpu_seconds"]) for row in told["rows"]] == [("few", 2 * HOUR)]
    staff = words(browser(sam).get("/reports/corrections/"))
    assert all(word in staff for word in ("4711", "fp-mei", "nobodys", "came after the month was closed"))


def test_the_bytes_of_a_closed_period_stay_the_same(closed: ClosedMonth, sam: User) -> None:
    def sheet() -> str:
        return b"".join(browser(sam).get("/reports/gpu-hours.csv?from=2026-03&to=2026-03")).decode()

    before = sheet()
    record(closed.cluster, a_run(db_index="2"))
    assert sheet() == before


# ── The page ─────────────────────────────────────────────────────────────────


def test_staff_close_on_the_page_and_are_told_why_not(sam: User, allocation: Allocation) -> None:
    cluster, client = allocation.cluster, browser(sam)
    record(cluster, a_run())
    assert "not read to its end yet" in words(client.get(PAGE))
    refused = words(client.post(f"{PAGE}close/", {"month": "2026-03"}, follow=True))
    assert "have not been read to the end" in refused
    assert "Give a month" in words(client.post(f"{PAGE}close/", {"month": "March"}, follow=True))
    read(cluster)
    assert "Close March 2026" in words(client.get(PAGE))
    assert "March 2026 is closed." in words(client.post(f"{PAGE}close/", {"month": "2026-03"}, follow=True))
    told = client.get("/api/v1/clusters/firefly/months/").json()["results"]
    assert [(one["month"], one["gpu_seconds"], one["closed_by"]) for one in told] == [
        ("2026-03", 7200, "Sam Weber")
    ]
    again = client.post(
        "/api/v1/clusters/firefly/months/close/", {"month": "2026-03"}, content_type="application/json"
    )
    assert (again.status_code, again.json()["detail"]) == (409, "March 2026 is closed already.")


def test_years_of_months_are_paged_in_few_queries(sam: User, allocation: Allocation) -> None:
    record(allocation.cluster, a_run(start=datetime(2020, 1, 1, tzinfo=UTC)))
    assert queries_of(browser(sam), PAGE) <= 15


def test_months_are_for_the_staff(firefly: Cluster, ann: User, ivo: User) -> None:
    for who in (ann, ivo):
        assert browser(who).get(PAGE).status_code == 403


# ── Two at once ──────────────────────────────────────────────────────────────


def at_once(*deeds: Callable[[], Any]) -> list[str]:
    """Each in a thread with a connection of its own; what each raised, by name, or nothing."""

    def done(deed: Callable[[], Any]) -> str:
        try:
            deed()
        except (Overtaken, NotYet) as error:
            return type(error).__name__
        finally:
            connection.close()
        return ""

    with ThreadPoolExecutor(len(deeds)) as pool:
        return sorted(pool.map(done, deeds))


@pytest.mark.django_db(transaction=True)
def test_of_two_who_close_one_does(sam: User, allocation: Allocation) -> None:
    read(allocation.cluster)

    def close() -> None:
        close_month(by=sam, cluster=allocation.cluster, month=MARCH)

    assert at_once(close, close, close) == ["", "Overtaken", "Overtaken"]
    assert ClosedMonth.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_what_comes_while_a_month_is_closed_is_in_its_sum_or_a_correction(
    sam: User, allocation: Allocation
) -> None:
    cluster = allocation.cluster
    read(cluster)
    runs = [a_run(day=n + 1, db_index=str(n)) for n in range(12)]

    def record_each() -> None:
        for run in runs:
            record(cluster, run)

    at_once(record_each, lambda: close_month(by=sam, cluster=cluster, month=MARCH))
    days = sum(UsageDay.objects.values_list("gpu_seconds", flat=True))
    late = sum(UsageCorrection.objects.values_list("gpu_seconds", flat=True))
    assert ClosedMonth.objects.get().gpu_seconds == days
    assert days + late == 12 * 2 * HOUR
