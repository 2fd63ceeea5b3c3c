"""The list of projects, a project's page, and the statement of an allocation."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.utils import timezone

from accounting import ledger
from accounting.models import Allocation, UsageRecord
from accounting.periods import Period, month_of
from accounting.reports import spending
from accounting.reports.balances import AllocationStanding
from accounting.reports.programmes import Scope, programme
from accounting.usage import Attribution, record_runs
from portal.models import Project, User
from tests.factories import (
    AllocationFactory,
    ClusterFactory,
    HoldFactory,
    LabFactory,
    ProjectFactory,
    RunFactory,
)
from tests.pages import assert_like_nowhere, browser, queries_of, words

LIST = "/projects/"
PAGE = "/projects/squeezed-light/"
HOUR = 3600


@pytest.fixture
def used(allocation: Allocation, mei: User) -> Allocation:
    """mei used 6 GPU-hours two days ago (charged 6), somebody unknown 2 on the preemptible partition (charged 1)."""
    start = timezone.now().replace(microsecond=0) - timedelta(days=2)
    runs = [
        RunFactory.create(start=start, gpus=6, job_id="530_1"),
        RunFactory.create(start=start, user="old-hand", partition="a100-preemptible"),
    ]
    people = {"fp-mei": mei.pk}
    record_runs(
        runs,
        cluster=allocation.cluster,
        as_of=timezone.now(),
        in_queue=(),
        attribute=lambda runs: lambda run: Attribution(person_id=people.get(run.user)),
    )
    return allocation


def statement(allocation: Allocation) -> str:
    return f"/allocations/{allocation.pk}/statement/"


# ── The list ─────────────────────────────────────────────────────────────────


def test_the_list_shows_my_labs_projects_with_what_is_left(mei: User, otto: User, used: Allocation) -> None:
    page = words(browser(mei).get(LIST))
    assert "Squeezed light" in page and "4 993.00" in page
    assert "Squeezed light" not in words(browser(otto).get(LIST))


@pytest.mark.parametrize("who", ["ivo", "ada", "sam", "ann"])
def test_who_looks_after_it_sees_it(who: str, project: Project, request: pytest.FixtureRequest) -> None:
    assert "Squeezed light" in words(browser(request.getfixturevalue(who)).get(LIST))


def test_the_list_searches_and_sorts(sam: User, project: Project) -> None:
    ProjectFactory.create(title="Ants")
    client = browser(sam)
    assert "Ants" not in words(client.get(LIST, {"q": "northlake light"}))
    assert "No project fits" in words(client.get(LIST, {"q": "zzz"}))
    up, down = words(client.get(LIST)), words(client.get(LIST, {"sort": "-title"}))
    assert up.index("Ants") < up.index("Squeezed light") and down.index("Squeezed light") < down.index("Ants")


@pytest.mark.parametrize(
    "query", ["sort=password", "sort=--", "page=0", "page=x", "q=%00", "q=" + "a" * 5000]
)
def test_odd_queries_still_answer(sam: User, project: Project, query: str) -> None:
    assert browser(sam).get(f"{LIST}?{query}").status_code == 200


def test_more_projects_take_no_more_queries(sam: User, allocation: Allocation) -> None:
    few = queries_of(browser(sam), LIST)
    AllocationFactory.create_batch(4)
    assert queries_of(browser(sam), LIST) == few


# ── The page ─────────────────────────────────────────────────────────────────


def test_the_page_says_what_is_left_and_who_used_it(mei: User, used: Allocation) -> None:
    HoldFactory.create(allocation=used, gpu_seconds=100 * HOUR)
    page = words(browser(mei).get(PAGE))
    assert "4 893 of 5 000 GPU-hours left until" in page
    assert "Mei Lin" in page and "75.0 %" in page
    assert "old-hand" in page and "25.0 %" in page
    assert "Submit job" in page and "Ask for GPU-hours" not in page


def test_who_used_nothing_stands_last(used: Allocation, ivo: User) -> None:
    names = [share.name for share in spending.shares(used.project)]
    assert names == ["Mei Lin", "old-hand", ivo.name]
    few = spending.shares(used.project, most=1)
    assert (few[-1].others, few[-1].name) == (2, "")


def test_hours_on_a_cluster_that_takes_no_jobs_come_last_and_are_not_added_up(
    mei: User, allocation: Allocation
) -> None:
    ember = ClusterFactory.create(title="Ember", accepts_jobs=False)
    AllocationFactory.create(
        project=allocation.project, cluster=ember, end=allocation.end - timedelta(days=1), gpu_hours=5000
    )
    page = words(browser(mei).get(PAGE))
    assert f"5 000 of 5 000 GPU-hours left on {allocation.cluster} until" in page
    assert page.index(f"GPU-hours on {allocation.cluster}") < page.index("GPU-hours on Ember")
    allocation.cluster.accepts_jobs = False
    allocation.cluster.save()
    assert "10 000 of 10 000 GPU-hours left until" in words(browser(mei).get(PAGE))


def test_a_pi_is_offered_to_ask(ivo: User, project: Project) -> None:
    page = words(browser(ivo).get(PAGE))
    assert "No GPU-hours are granted to this project at present" in page
    assert "Ask for GPU-hours" in page


def test_a_stranger_and_a_funder_find_nothing(otto: User, fay: User, used: Allocation) -> None:
    for stranger in (otto, fay):
        assert_like_nowhere(browser(stranger), PAGE)
        assert_like_nowhere(browser(stranger), statement(used))


def test_an_expired_allocation_leaves_the_balance(ivo: User, allocation: Allocation) -> None:
    with time_machine.travel(datetime(allocation.end.year + 1, 12, 30, tzinfo=UTC)):
        page = words(browser(ivo).get(PAGE))
    assert "No GPU-hours are granted to this project at present" in page
    assert "Other allocations" in page


def test_a_title_is_text_and_never_code(ivo: User) -> None:
    lab = ivo.memberships.get().lab
    ProjectFactory.create(
        lab=lab, title="<img src=x onerror=alert(1)>", slug="odd", abstract="<script>alert(2)</script>"
    )
    body = browser(ivo).get("/projects/odd/").content.decode()
    assert "<img src=x" not in body and "<script>alert" not in body


def test_more_people_and_allocations_take_no_more_queries_but_one_each(ivo: User, used: Allocation) -> None:
    few = queries_of(browser(ivo), PAGE)
    past = timezone.now().date() - timedelta(days=900)
    for _ in range(3):
        AllocationFactory.create(project=used.project, cluster=used.cluster, start=past)
    assert queries_of(browser(ivo), PAGE) == few


# ── The forecast ─────────────────────────────────────────────────────────────


def burned(allocation: Allocation, by_day: dict[int, int]) -> spending.Burn:
    """The burn of an allocation on which so many GPU-hours ended so many days ago."""
    now = timezone.now().replace(hour=12, minute=0, second=0, microsecond=0)
    runs = [
        RunFactory.create(start=now - timedelta(days=ago, hours=1), end=now - timedelta(days=ago), gpus=gpus)
        for ago, gpus in by_day.items()
    ]
    record_runs(runs, cluster=allocation.cluster, as_of=now + timedelta(hours=1), in_queue=())
    return spending.burn(AllocationStanding(allocation, ledger.balance(allocation), now.date()))


def test_an_even_use_lasts_until_one_day(allocation: Allocation) -> None:
    burn = burned(allocation, dict.fromkeys(range(28), 50))
    left = (5000 - 28 * 50) // 50
    assert burn.left[-1] == (5000 - 28 * 50) * HOUR
    assert burn.lasts_from == burn.lasts_until == timezone.now().date() + timedelta(days=left)


def test_a_faster_week_makes_a_range(allocation: Allocation) -> None:
    burn = burned(allocation, {ago: (100 if ago < 7 else 20) for ago in range(28)})
    assert burn.lasts_from is not None and burn.lasts_until is not None
    assert burn.lasts_from < burn.lasts_until


def test_there_is_no_forecast_from_nothing_or_from_a_few_days(
    project: Project, allocation: Allocation
) -> None:
    assert not burned(allocation, {}).has_forecast
    young = AllocationFactory.create(
        project=project, cluster=allocation.cluster, start=timezone.now().date() - timedelta(days=3)
    )
    assert not spending.burn(
        AllocationStanding(young, ledger.balance(young), timezone.now().date())
    ).has_forecast


# ── The statement ────────────────────────────────────────────────────────────


def test_the_statement_adds_up(mei: User, sam: User, used: Allocation) -> None:
    ledger.adjust(used, -HOUR, by=sam, reason="The node's clock was wrong.")
    page = words(browser(mei).get(statement(used)))
    assert "+5 000.00" in page and "−7.00" in page and "4 992.00" in page
    assert "job 530_1" in page and "× 0.5" in page
    assert "The node's clock was wrong." in page and "by Sam Weber" in page


def test_the_statement_belongs_to_the_projects(mei: User, used: Allocation) -> None:
    body = browser(mei).get(statement(used)).content.decode()
    assert f'<a href="{LIST}" aria-current="page">' in body


def test_the_balance_runs_from_line_to_line_over_the_pages(used: Allocation) -> None:
    entries = list(spending.entries(used))
    lines = spending.statement_lines(entries)
    running = 0
    for line in reversed(lines):
        running += line.entry.gpu_seconds
        assert line.balance_after == running
    assert running == ledger.balance(used).balance
    assert spending.statement_lines(entries[1:2]) == lines[1:2]


def test_more_entries_take_no_more_queries(mei: User, used: Allocation) -> None:
    few = queries_of(browser(mei), statement(used))
    start = datetime(2026, 1, 1, tzinfo=UTC)
    record_runs(
        [RunFactory.create(start=start) for _ in range(20)],
        cluster=used.cluster,
        as_of=timezone.now(),
        in_queue=(),
    )
    assert UsageRecord.objects.count() == 22
    assert queries_of(browser(mei), statement(used)) == few


def test_another_lab_of_the_same_institution_is_another_lab(mei: User, used: Allocation) -> None:
    neighbour = ProjectFactory.create(lab=LabFactory.create(institution=used.project.lab.institution))
    assert_like_nowhere(browser(mei), f"/projects/{neighbour.slug}/")


def test_what_was_awarded_is_not_less_for_being_used(used: Allocation) -> None:
    now = timezone.now()
    period = Period(month_of(now.date() - timedelta(days=30)), month_of(now.date()))
    found = programme(Scope(), period, as_of=now)
    assert (found.awarded, found.usage.total.gpu_seconds) == (5000 * HOUR, 8 * HOUR)
