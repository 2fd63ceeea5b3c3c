"""The API answers every mistake with a problem document, and never with a 500."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import Settings

from portal.models import Project, User
from tests.pages import browser

REQUESTS = "/api/v1/requests/"


def problem(answer: Any, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.content[:300]
    assert answer["Content-Type"].startswith("application/problem+json")
    body: dict[str, Any] = json.loads(answer.content)
    assert {"type", "title", "status", "detail"} <= body.keys()
    assert body["status"] == status
    return body


def post(user: User, body: bytes | str, content_type: str = "application/json") -> Any:
    return browser(user).post(REQUESTS, body, content_type=content_type)


def test_who_is_not_logged_in_gets_401(client: Client, db: None) -> None:
    answer = client.get("/api/v1/projects/")
    problem(answer, 401)
    assert answer["WWW-Authenticate"]


def test_what_is_not_there_and_what_is_not_mine_are_the_same(otto: User, project: Project) -> None:
    client = browser(otto)
    answers = [
        client.get(f"/api/v1/{path}") for path in ("projects/squeezed-light/", "projects/none/", "nothing/")
    ]
    assert [answer.status_code for answer in answers] == [404, 404, 404]
    assert len({answer.content for answer in answers}) == 1
    problem(answers[0], 404)


def test_a_method_that_is_not_known(ivo: User) -> None:
    answer = browser(ivo).delete("/api/v1/projects/")
    problem(answer, 405)
    assert "GET" in answer["Allow"]


def test_a_body_of_another_kind(ivo: User) -> None:
    problem(post(ivo, "a=b", "application/x-www-form-urlencoded"), 415)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"\xff\xfe{}",
        b'{"a": 1, "a": 2}',
        b"[" * 10_000 + b"]" * 10_000,
        b'{"gpu_seconds": NaN}',
        b'{"gpu_seconds": -Infinity}',
        b'{"gpu_seconds": ' + b"9" * 5000 + b"}",
        b"[]",
        b'"text"',
        b"null",
        b"1",
    ],
    ids=[
        "cut",
        "utf16",
        "doubled key",
        "deep",
        "NaN",
        "Infinity",
        "5000 digits",
        "array",
        "text",
        "null",
        "number",
    ],
)
def test_a_body_that_cannot_be_read(ivo: User, body: bytes) -> None:
    problem(post(ivo, body), 400)


def test_a_body_that_is_too_large(ivo: User, settings: Settings) -> None:
    body = json.dumps({"justification": "x" * settings.DATA_UPLOAD_MAX_MEMORY_SIZE})
    problem(post(ivo, body), 413)


WRONG: dict[str, list[Any]] = {
    "gpu_seconds": [-1, 0, 10**30, True, "1_000", "１２", "abc", None, [], {}, 1.5],
    "justification": ["a\0b", "\ud800", "", "x" * 10_001],
    "start": ["2026-02-30", "9999-01-01", "today", 7, "../../etc/passwd"],
    "project": ["none", 7, [], {"a": 1}, "a\0b", "\ud800"],
    "cluster": ["none", 7, [], {"a": 1}, "a\0b", "\ud800"],
}


@pytest.mark.parametrize(("value", "field"), [(value, field) for field in WRONG for value in WRONG[field]])
def test_a_wrong_value_is_named_at_its_field(
    ivo: User, project: Project, firefly: Any, value: Any, field: str
) -> None:
    good = {
        "project": project.slug,
        "cluster": "firefly",
        "gpu_seconds": 3600,
        "start": f"{timezone.now().date()}",
        "end": f"{timezone.now().date()}",
        "justification": "Because.",
    }
    body = problem(post(ivo, json.dumps(good | {field: value})), 400)
    assert field in body["errors"]
    assert all(isinstance(sentence, str) for sentence in body["errors"][field])


def test_a_number_beyond_all_is_refused(ivo: User, project: Project) -> None:
    assert "gpu_seconds" in problem(post(ivo, b'{"gpu_seconds": 1e400}'), 400)["errors"]


def test_an_unknown_field_is_refused(ivo: User, project: Project) -> None:
    body = problem(post(ivo, json.dumps({"state": "approved"})), 400)
    assert "state" in body["errors"]


@pytest.mark.parametrize(
    "query",
    [
        "page=-1",
        "page=0",
        "page=abc",
        "page=99",
        "page_size=0",
        "page_size=501",
        "page_size=１",
        "order_by=password",
    ],
)
def test_an_odd_query_is_refused(ivo: User, query: str) -> None:
    body = problem(browser(ivo).get(f"/api/v1/projects/?{query}"), 400)
    assert query.partition("=")[0] in body["errors"]


@pytest.mark.parametrize("key", ["abc", "1 or 1=1", str(2**63), "-1", "9" * 400, "%00"])
def test_an_odd_key_is_not_there(ivo: User, key: str) -> None:
    problem(browser(ivo).get(f"/api/v1/requests/{key}/"), 404)


def test_a_form_of_another_site_is_refused(ivo: User, project: Project) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(ivo)
    problem(client.post(REQUESTS, b"{}", content_type="application/json"), 403)


def test_the_schema_is_whole(ivo: User) -> None:
    out = StringIO()
    call_command("spectacular", "--validate", "--fail-on-warn", stdout=out)
    assert "/api/v1/requests/{id}/approve/" in out.getvalue()
    assert browser(ivo).get("/api/v1/schema/").status_code == 200
