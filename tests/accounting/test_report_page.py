"""The programme's report: GPU-hours by institution and month; a funder sees totals of what it pays, never a person."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from pytest_django import DjangoAssertNumQueries

from accounting.models import Allocation, Cluster
from accounting.periods import Month, Period, last_twelve, parse_month, presets
from accounting.reports import programmes
from accounting.reports.programmes import Cell, Scope
from accounting.usage import Attribution, nobodys, record_runs
from portal.models import Funder, Institution, Project, User
from tests.factories import (
    CollectionFactory,
    InstitutionFactory,
    LabFactory,
    ProjectFactory,
    RunFactory,
    UserFactory,
)
from tests.pages import browser, queries_of, words

PAGE = "/reports/"
CSV = "/reports/gpu-hours.csv"
API = "/api/v1/usage/"
HOUR = 3600
NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
SPRING = "from=2026-03&to=2026-05"
MARCH, APRIL, MAY = Month(2026, 3), Month(2026, 4), Month(2026, 5)


@pytest.fixture(autouse=True)
def today() -> Any:
    with time_machine.travel(NOW, tick=False):
        yield


def project_of(name: str, funder: Funder | None) -> Project:
    institution = InstitutionFactory.create(name=name)
    return ProjectFactory.create(
        lab=LabFactory.create(institution=institution), funder=funder, slug=institution.slug
    )


def use(
    project: Project | str, cluster: Cluster, month: int, gpus: int, *users: str, running: bool = False
) -> None:
    """Each of `users` holds `gpus` for an hour in that month of 2026."""
    account = project if isinstance(project, str) else project.account
    start = datetime(2026, month, 10, tzinfo=UTC)
    runs = [
        RunFactory.create(
            cluster=cluster.name,
            account=account,
            user=user,
            start=start,
            gpus=gpus,
            **({"end": None, "state": "RUNNING"} if running else {}),
        )
        for user in users
    ]
    as_of = start + timedelta(hours=1) if running else NOW
    record_runs(runs, cluster=cluster, as_of=as_of, in_queue={run.job_id_raw for run in runs})


@pytest.fixture
def spring(firefly: Cluster, fund: Funder) -> dict[str, Project]:
    """Many use Large in March and April, one in May; two use Small in March; Foreign has another funder."""
    large, small, foreign = project_of("Large", fund), project_of("Small", fund), project_of("Foreign", None)
    use(large, firefly, 3, 10, "a", "b", "c")
    use(large, firefly, 4, 20, "a", "b", "c", "d")
    use(large, firefly, 5, 7, "a")
    use(small, firefly, 3, 5, "x", "y")
    use(foreign, firefly, 3, 100, "p", "q", "r")
    use("root", firefly, 4, 3, "root")
    return {"large": large, "small": small, "foreign": foreign}


def programme(scope: Scope) -> programmes.Programme:
    return programmes.programme(scope, Period(MARCH, MAY), as_of=NOW)


# ── The numbers ──────────────────────────────────────────────────────────────


def test_staff_see_every_institution_and_the_unassigned(spring: dict[str, Project]) -> None:
    rows = {(row.kind, row.name): row for row in programme(Scope()).usage.rows}
    assert {key: row.total.gpu_seconds // HOUR for key, row in rows.items()} == {
        ("institution", "Foreign"): 300,
        ("institution", "Large"): 117,
        ("institution", "Small"): 10,
        ("unassigned", "root"): 3,
    }
    assert rows["institution", "Large"].by_month[APRIL] == Cell(80 * HOUR)


def test_a_funder_sees_what_it_pays_and_few_people_are_merged(
    spring: dict[str, Project], fund: Funder
) -> None:
    found = programme(Scope((fund,)))
    large, few = found.usage.rows
    assert (large.name, {month: cell.gpu_seconds // HOUR for month, cell in large.by_month.items()}) == (
        "Large",
        {MARCH: 30, APRIL: 80},
    )
    assert large.merged_months == {MAY}
    assert (few.kind, few.name) == ("few", "")
    assert {month: cell.gpu_seconds // HOUR for month, cell in few.by_month.items()} == {MARCH: 10, MAY: 7}
    assert found.usage.total.gpu_seconds == 127 * HOUR


def test_one_person_of_several_names_is_not_three(firefly: Cluster, fund: Funder) -> None:
    """Imported records know no person, collected ones do: the same POSIX user is still one."""
    project = project_of("Lonely", fund)
    start = datetime(2026, 3, 1, tzinfo=UTC)
    people = {user: UserFactory.create().pk for user in ("a", "b")}
    for known in (True, False):
        runs = [
            RunFactory.create(account=project.account, user=user, start=start, partition=f"{known}")
            for user in people
        ]
        record_runs(
            runs,
            cluster=firefly,
            as_of=NOW,
            in_queue=(),
            attribute=(lambda runs: lambda run: Attribution(person_id=people[run.user]))
            if known
            else nobodys,
        )
    assert [row.kind for row in programme(Scope((fund,))).usage.rows] == ["few"]


def test_the_award_and_the_period_before(spring: dict[str, Project], firefly: Cluster, fund: Funder) -> None:
    use(spring["large"], firefly, 1, 13, "a")
    found = programme(Scope((fund,)))
    assert (found.usage.before, found.awarded, found.share) == (13 * HOUR, 0, None)
    assert found.change is not None and round(found.change) == 877


def test_a_running_job_is_marked_provisional(firefly: Cluster, fund: Funder) -> None:
    use(project_of("Busy", fund), firefly, 5, 4, "a", "b", "c", running=True)
    assert programme(Scope((fund,))).usage.total == Cell(12 * HOUR, 12 * HOUR)


def test_it_takes_eight_queries_whatever_there_is_and_five_while_no_usage_changes(
    spring: dict[str, Project], django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(8):
        first = programme(Scope())
    with django_assert_num_queries(5):
        assert programme(Scope()).usage is first.usage


def test_what_is_recorded_stands_in_the_next_report(spring: dict[str, Project], firefly: Cluster) -> None:
    before = programme(Scope()).usage.total
    use(spring["large"], firefly, 5, 6, "a", running=True)
    assert programme(Scope()).usage.total == before + Cell(6 * HOUR, 6 * HOUR)


def test_a_new_name_stands_in_the_next_report(spring: dict[str, Project]) -> None:
    assert ("institution", "Large") in {(row.kind, row.name) for row in programme(Scope()).usage.rows}
    Institution.objects.filter(name="Large").update(name="Larger")
    assert ("institution", "Larger") in {(row.kind, row.name) for row in programme(Scope()).usage.rows}


def test_what_somebody_else_pays_for_now_is_not_in_the_next_report(
    spring: dict[str, Project], fund: Funder
) -> None:
    period = Period(MARCH, MAY)
    assert programme(Scope((fund,))).usage.total == Cell(127 * HOUR)
    assert programmes.headline(Scope((fund,)), period).used == 127 * HOUR
    Project.objects.filter(pk=spring["large"].pk).update(funder=None)
    assert programme(Scope((fund,))).usage.total == Cell(10 * HOUR)
    assert programmes.headline(Scope((fund,)), period).used == 10 * HOUR


# ── The page ─────────────────────────────────────────────────────────────────


def test_the_funders_page_says_it_in_words(spring: dict[str, Project], fay: User, firefly: Cluster) -> None:
    CollectionFactory.create(cluster=firefly, complete_until=NOW - timedelta(minutes=5))
    page = words(browser(fay).get(f"{PAGE}?{SPRING}"))
    assert "127 GPU-hours were used, March 2026 to May 2026." in page
    assert "Projects paid by National Science Fund, on all clusters." in page
    assert "Institutions with fewer than three active people" in page
    assert "As of" in page and "15 Jun 2026, 12:00 UTC" in page


def test_a_funder_never_reads_a_person_a_job_or_a_foreign_project(
    spring: dict[str, Project], fay: User, mei: User, allocation: Allocation
) -> None:
    run = RunFactory.create(user="fp-mei", job_id="777_3", start=datetime(2026, 3, 3, tzinfo=UTC))
    record_runs(
        [run],
        cluster=allocation.cluster,
        as_of=NOW,
        in_queue=(),
        attribute=lambda runs: lambda run: Attribution(person_id=mei.pk),
    )
    client = browser(fay)
    for url in (PAGE, CSV, API):
        answer = client.get(f"{url}?{SPRING}")
        body = answer.getvalue()
        for secret in (b"Mei", b"fp-mei", b"777_3", b"Foreign", b"Northlake", b"squeezed", b"root"):
            assert secret not in body, (url, secret)
    for url in ("/projects/squeezed-light/", "/jobs/", "/people/", "/requests/queue/"):
        assert b"Squeezed" not in client.get(url).content


@pytest.mark.parametrize("who", ["mei", "ivo", "ada", "otto"])
def test_others_read_whose_report_it_is(who: str, request: pytest.FixtureRequest) -> None:
    client = browser(request.getfixturevalue(who))
    for url in (PAGE, CSV, API):
        answer = client.get(url)
        assert answer.status_code == 403
        assert "for funders and the centre" in answer.content.decode()


@pytest.mark.parametrize(
    "query",
    [
        "from=2026-13",
        "from=2026-02-30",
        "from=x&to=y",
        "from=2026-05&to=2026-03",
        "to=9999-12",
        "from=%00",
        "from=１９９９-01",
        "from=2000-01&to=2026-01",
    ],
)
def test_a_wrong_period_gets_a_sentence_and_the_usual_one(sam: User, query: str) -> None:
    client = browser(sam)
    answer = client.get(f"{PAGE}?{query}")
    assert answer.status_code == 200
    assert answer.context["form"].errors
    assert answer.context["programme"].period == last_twelve(NOW.date())
    assert client.get(f"{CSV}?{query}").status_code == 302
    problem = client.get(f"{API}?{query}")
    assert problem.status_code == 400
    assert problem.json()["errors"]


def test_an_empty_period_says_so(fay: User) -> None:
    assert "Nothing was used in this period" in words(browser(fay).get(PAGE))


def test_the_page_takes_no_more_queries_for_more(
    spring: dict[str, Project], sam: User, firefly: Cluster
) -> None:
    few = queries_of(browser(sam), PAGE)
    for n in range(5):
        use(project_of(f"More {n}", None), firefly, 4, 1, "a")
    assert queries_of(browser(sam), PAGE) == few


# ── The same numbers elsewhere ───────────────────────────────────────────────


def lines(user: User, query: str = SPRING) -> list[dict[str, str]]:
    answer = browser(user).get(f"{CSV}?{query}")
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    text = answer.getvalue().decode()
    return list(csv.DictReader(io.StringIO(text)))


def test_the_csv_has_the_pages_numbers(spring: dict[str, Project], fay: User) -> None:
    found = {(line["institution"], line["month"]): line["gpu_hours"] for line in lines(fay)}
    assert found == {
        ("Large", "2026-03"): "30.00",
        ("Large", "2026-04"): "80.00",
        ("Institutions with fewer than three active people", "2026-03"): "10.00",
        ("Institutions with fewer than three active people", "2026-05"): "7.00",
    }


def test_no_cell_is_a_formula(firefly: Cluster, sam: User) -> None:
    use('=HYPERLINK("http://evil.example")', firefly, 4, 1, "a")
    InstitutionFactory.create(name="unused")
    project = ProjectFactory.create(
        lab=LabFactory.create(institution=InstitutionFactory.create(name="@SUM(A1)", slug="odd"))
    )
    use(project, firefly, 4, 1, "a")
    names = [line["institution"] for line in lines(sam)]
    assert len(names) == 2
    assert all(name[0] not in "=+-@" for name in names)


def test_the_api_has_the_pages_numbers(spring: dict[str, Project], fay: User) -> None:
    body = json.loads(browser(fay).get(f"{API}?{SPRING}").content)
    assert body["used_gpu_seconds"] == 127 * HOUR
    assert sum(row["gpu_seconds"] for row in body["rows"]) == 127 * HOUR
    assert {row["kind"] for row in body["rows"]} == {"institution", "few"}


# ── Periods ──────────────────────────────────────────────────────────────────


def test_periods_are_whole_months() -> None:
    period = Period(Month(2024, 11), Month(2025, 2))
    assert (str(period.start), str(period.end), period.length) == ("2024-11-01", "2025-02-28", 4)
    assert period.before == Period(Month(2024, 7), Month(2024, 10))
    assert [str(month) for month in period.months] == ["2024-11", "2024-12", "2025-01", "2025-02"]
    assert parse_month("2024-02").last.day == 29


def test_presets_hold_today() -> None:
    today = NOW.date()
    by_name = {preset.label: preset.period for preset in presets(today)}
    assert by_name["This quarter"] == Period(Month(2026, 4), Month(2026, 6))
    assert by_name["Last 12 months"] == Period(Month(2025, 7), Month(2026, 6))
