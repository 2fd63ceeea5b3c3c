"""The audit: each row a sentence, narrowed by anything, turned without counting; everybody sees what they look after."""

from __future__ import annotations

import ast
import csv
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone, translation

from accounting.models import AllocationRequest
from portal.audit import details, kinds
from portal.audit.forms import KINDS
from portal.audit.sentences import ACTIONS, in_words, steps
from portal.lists import PER_PAGE
from portal.models import AuditEvent, Project, User
from portal.models.audit import record
from portal.transitions import advance
from tests.belongings import World
from tests.factories import AllocationRequestFactory, JobFactory, ProjectFactory
from tests.pages import browser, queries_of, words

URL = "/audit/"


@pytest.fixture
def asked(ivo: User, project: Project) -> AllocationRequest:
    """ivo's request, which ann sent back with a word."""
    asked = AllocationRequestFactory.create(project=project, created_by=ivo)
    record("allocation request drafted", asked, by=ivo, project=project, gpu_seconds=7_200)
    return asked


@pytest.fixture
def returned(ann: User, asked: AllocationRequest) -> AllocationRequest:
    advance(asked, AllocationRequest.State.RETURNED, by=ann, project=asked.project, note="Which GPUs?")
    return asked


def rows(who: User, query: str = "") -> list[list[str]]:
    answer = browser(who).get(f"{URL}rows.csv?{query}")
    assert answer.status_code == 200
    return list(csv.reader(StringIO(b"".join(answer).decode())))[1:]


def test_a_row_reads_like_a_sentence(sam: User, returned: AllocationRequest) -> None:
    answer = browser(sam).get(URL)
    page = words(answer)
    assert "Ann Larsen" in page and "Allocation request: returned" in page
    assert "submitted → returned" in page and "Which GPUs?" in page
    assert "allocation request Squeezed light" in page
    assert f'href="{reverse("accounting:request", args=[returned.pk])}"' in answer.content.decode()
    assert "Allocation request drafted" in page and "GPU-hours 2" in page


def test_a_draft_is_told_and_opens_for_its_lab_alone(sam: User, ivo: User, asked: AllocationRequest) -> None:
    AllocationRequest.objects.update(state=AllocationRequest.State.DRAFT)
    link = f'href="/requests/{asked.pk}/"'
    assert "Allocation request drafted" in words(browser(sam).get(URL))
    assert link not in browser(sam).get(URL).content.decode()
    assert link in browser(ivo).get(URL).content.decode()


def test_what_nobody_knows_is_shown_as_it_was_written(sam: User, project: Project) -> None:
    record("moon painted", project, by=None)
    page = words(browser(sam).get(URL))
    assert "Moon painted" in page and "the portal" in page


def test_what_a_person_typed_is_only_text(sam: User, ann: User, asked: AllocationRequest) -> None:
    advance(asked, AllocationRequest.State.REJECTED, by=ann, project=asked.project, note="<b>No</b>")
    assert "&lt;b&gt;No&lt;/b&gt;" in browser(sam).get(URL).content.decode()


@pytest.mark.parametrize("who", ["ivo", "ada"])
def test_who_looks_after_a_project_reads_of_it_and_of_no_other(
    who: str, returned: AllocationRequest, request: pytest.FixtureRequest
) -> None:
    other = ProjectFactory.create(title="Hidden helices")
    record("project active", other, by=None, project=other)
    page = words(browser(request.getfixturevalue(who)).get(URL))
    assert "Allocation request: returned" in page and "Hidden" not in page


def test_a_stranger_reads_nothing_of_it(vera: User, returned: AllocationRequest) -> None:
    assert "Nothing was done yet" in words(browser(vera).get(URL))
    assert rows(vera) == []


@pytest.mark.parametrize("who", ["mei", "fay", "otto"])
def test_others_are_told_why_not(who: str, request: pytest.FixtureRequest) -> None:
    answer = browser(request.getfixturevalue(who)).get(URL)
    assert answer.status_code == 403
    assert "PIs, institution admins and the centre" in words(answer)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("who=larsen", ["allocation request returned"]),
        ("who=ivo@example", ["allocation request drafted"]),
        ("who=nobody", []),
        ("what=allocation+request+drafted", ["allocation request drafted"]),
        ("kind=jobs.job", ["job submitted"]),
        ("kind=accounting.allocationrequest", ["allocation request returned", "allocation request drafted"]),
        ("project=squeezed", ["allocation request returned", "allocation request drafted"]),
        ("project=nothing", []),
        ("last=2020-01-31", []),
    ],
)
def test_it_is_narrowed(sam: User, returned: AllocationRequest, query: str, expected: list[str]) -> None:
    job = JobFactory.create()
    record("job submitted", job, by=job.owner, project=job.project)
    assert [row[4] for row in rows(sam, query)] == expected
    shown = words(browser(sam).get(f"{URL}?{query}"))
    if not expected:
        assert "Nothing fits that" in shown


def test_days_are_whole(sam: User, returned: AllocationRequest) -> None:
    today = timezone.localdate()
    assert len(rows(sam, f"first={today}&last={today}")) == 2
    assert not rows(sam, f"last={today - timedelta(days=1)}")


def test_it_is_turned_by_the_last_row(sam: User, project: Project) -> None:
    at = timezone.now()
    AuditEvent.objects.bulk_create(
        AuditEvent(action=f"deed {number:03}", object_type="portal.project", object_id="1", at=at)
        for number in range(PER_PAGE + 3)
    )
    client = browser(sam)
    first = client.get(URL)
    assert f"Deed {PER_PAGE + 2:03}" in words(first) and "Deed 002" not in words(first)
    second = client.get(URL + first.context["older"])
    assert "Deed 002" in words(second) and "Deed 000" in words(second)
    assert not second.context["older"] and second.context["newest"]


def test_a_foreign_row_turns_no_page(ivo: User, sam: User, returned: AllocationRequest) -> None:
    other = record("job submitted", JobFactory.create(), by=None)
    client = browser(ivo)
    foreign, nothing = (client.get(f"{URL}?before={number}").context["lines"] for number in (other.pk, 0))
    assert foreign == nothing and len(foreign) == 2


def test_no_cell_is_a_formula(sam: User, ann: User, asked: AllocationRequest) -> None:
    advance(asked, AllocationRequest.State.REJECTED, by=ann, project=asked.project, note="=1+1")
    assert rows(sam)[0][9] == "'=1+1"


def test_the_api_says_the_same(sam: User, returned: AllocationRequest) -> None:
    told = browser(sam).get("/api/v1/audit/", {"who": "larsen"}).json()
    [event] = told["results"]
    assert (event["action"], event["detail"]["before"]) == ("allocation request returned", "submitted")
    assert told["before"] is None
    assert browser(sam).get("/api/v1/audit/", {"whom": "x"}).status_code == 400
    assert browser(sam).get("/api/v1/audit/", {"first": "tomorrow"}).json()["errors"]["first"]
    assert browser(sam).get("/api/v1/audit/", {"before": "1e9"}).json()["errors"]["before"]


def test_more_rows_take_no_more_queries(sam: User, returned: AllocationRequest) -> None:
    few = queries_of(browser(sam), URL)
    for _ in range(20):
        record("allocation request drafted", AllocationRequestFactory.create(), by=sam)
    assert queries_of(browser(sam), URL) == few <= 15


def test_a_step_of_any_table_is_told_by_its_models_words(db: None) -> None:
    assert in_words("allocation request endorsed") == "Allocation request: approved by the first of two"


@pytest.mark.parametrize(
    ("detail", "told"),
    [
        ({"held": 5400}, ("GPU-hours held", "1.50")),
        ({"due": "2026-12-07"}, ("until", "7 December 2026")),
        ({"due": "2026-02-30"}, ("until", "2026-02-30")),
        ({"until": "2026-12-07T14:00:00+00:00"}, ("until", "2026-12-07 14:00:00 UTC")),
        ({"until": "2026-12-07T14:00:00"}, ("until", "2026-12-07T14:00:00")),
        ({"deadlines": ["2026-12-07", "2026-12-08"]}, ("deadline", "7 December 2026 → 8 December 2026")),
        ({"role": "pi"}, ("role", "PI")),
        ({"role": "queen"}, ("role", "queen")),
        ({"second": True}, ("by a second person", "yes")),
        ({"changed": {"name": ["a", None]}}, ("changed", "name: a → –")),
        ({"changed": {"never a field": 3}}, ("changed", "never a field: 3")),
        ({"of_old": ["x"]}, ("of old", '["x"]')),
    ],
)
def test_details_are_told_in_words(detail: dict[str, Any], told: tuple[str, str]) -> None:
    assert list(details.in_words(detail, "portal.project")) == [told]


def _recordings() -> Iterator[ast.Call]:
    """Each call of `record` in the portal's code."""
    root = Path(__file__).resolve().parents[2]
    for app in ("portal", "accounting", "jobs"):
        for file in (root / app).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Name)
                    and node.func.id == "record"
                ):
                    yield node


def test_every_action_that_is_recorded_can_be_translated() -> None:
    """An f-string's actions are told by their models' words, or stand in ACTIONS whole."""
    written = {
        str(one.value) for call in _recordings() for one in call.args[:1] if isinstance(one, ast.Constant)
    }
    unknown = sorted(written - {*ACTIONS, *steps()})
    assert not unknown, f"portal/audit/sentences.py needs these actions: {', '.join(unknown)}"


def test_every_detail_that_is_recorded_can_be_translated() -> None:
    names = {word.arg for call in _recordings() for word in call.keywords if word.arg}
    unknown = sorted(names - {"by", "project", "before", "note"} - {*details.WORDS})
    assert not unknown, f"portal/audit/details.py needs these names: {', '.join(unknown)}"


def test_what_deeds_are_done_to_has_a_word_in_each_language(world: World) -> None:
    recorded = set(AuditEvent.objects.values_list("object_type", flat=True))
    known = {*KINDS, *kinds.WORDS, *recorded}
    with translation.override("zh-hans"):
        assert [kind for kind in known if kinds.kind_word(kind).isascii()] == []
