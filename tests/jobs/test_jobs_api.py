"""Jobs for programs: what the pages do, and every bad body answered by a problem document."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any, cast
from uuid import uuid4

import pytest
from django.test import Client, TestCase
from django.utils import timezone

from accounting import ledger
from accounting.models import Allocation, Partition
from jobs.models import Fetch, Job, JobFile
from jobs.states import State
from portal.models import Project, User
from tests.conftest import Bell
from tests.factories import JobFactory, ProjectFactory
from tests.jobs.at_hand import brought, result, uploaded

JOBS = "/api/v1/jobs/"
QUOTE = "/api/v1/quote/"
ClientFor = Callable[[User], Client]


@pytest.fixture
def program(mei: User, allocation: Allocation, client_for: ClientFor) -> Client:
    return client_for(mei)


@pytest.fixture
def job(mei: User, allocation: Allocation, a100: Partition) -> Job:
    return JobFactory.create(
        owner=mei,
        allocation=allocation,
        partition=a100,
        name="Fringe fit",
        state=State.RUNNING,
        scheduler_id="4711",
    )


@pytest.fixture
def body(mei: User, project: Project, a100: Partition) -> dict[str, Any]:
    return {
        "name": "Fringe fit",
        "project": project.slug,
        "cluster": a100.cluster.name,
        "partition": a100.name,
        "gpus": 2,
        "time_limit_minutes": 90,
        "script": str(uploaded(mei).pk),
        "inputs": [str(uploaded(mei, "data/x.csv", b"1,2").pk)],
    }


def post(client: Client, url: str, data: Any) -> Any:
    text = data if isinstance(data, str | bytes) else json.dumps(data)
    return client.post(url, text, content_type="application/json")


def problem(response: Any, status: int = 400) -> dict[str, Any]:
    """The problem document, which it must be."""
    assert response.status_code == status
    assert response["Content-Type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert document["status"] == status
    assert document["detail"]
    return document


def test_it_submits(program: Client, mei: User, body: dict[str, Any], bell: Bell) -> None:
    with TestCase.captureOnCommitCallbacks(execute=True):
        response = post(program, JOBS, body)
    assert response.status_code == 201
    made = response.json()
    assert (made["state"], made["project"], made["gpus"]) == ("new", "squeezed-light", 2)
    assert made["gpu_seconds"] == {"held": 10_800, "charged": 0, "running": 0}
    job = Job.objects.get(pk=made["id"])
    assert job.owner == mei
    assert sorted(job.files.values_list("kind", "path")) == [("input", "data/x.csv"), ("script", "run.sh")]
    assert bell.rang("jobs.tasks.dispatch")


def test_it_submits_a_sweep(program: Client, body: dict[str, Any]) -> None:
    made = post(program, JOBS, body | {"tasks": 10, "tasks_at_once": 3}).json()
    assert (made["tasks"], made["tasks_at_once"], made["task_counts"]) == (10, 3, None)
    assert made["gpu_seconds"]["held"] == 10 * 10_800


def test_a_sweep_is_quoted_and_refused_by_all_its_tasks(program: Client, body: dict[str, Any]) -> None:
    shape = {name: body[name] for name in ("project", "cluster", "partition", "gpus", "time_limit_minutes")}
    assert post(program, QUOTE, shape | {"tasks": 10}).json()["cost"] == 10 * 10_800
    refused = problem(post(program, JOBS, body | {"gpus": 32, "tasks": 1000}))
    assert "GPU-hours" in str(refused)
    assert not Job.objects.exists()


def test_how_many_tasks_are_where_and_the_log_of_each(program: Client, job: Job) -> None:
    Job.objects.filter(pk=job.pk).update(tasks=4, task_states="srwf")
    shown = program.get(f"{JOBS}{job.pk}/").json()
    assert shown["task_counts"] == {"waiting": 1, "running": 1, "succeeded": 1, "failed": 1, "cancelled": 0}
    log = program.get(f"{JOBS}{job.pk}/log/?task=3&stream=stderr").json()
    assert (log["task"], log["stream"]) == (3, "stderr")
    for task in ("4", "-1", "x", "", "２", "9" * 400):
        assert "task" in problem(program.get(f"{JOBS}{job.pk}/log/?task={task}"))["errors"]


def test_it_quotes_and_keeps_nothing(program: Client, body: dict[str, Any]) -> None:
    shape = {name: body[name] for name in ("project", "cluster", "partition", "gpus", "time_limit_minutes")}
    answer = post(program, QUOTE, shape)
    assert answer.status_code == 200
    assert answer.json() | {"allocation": 0} == {
        "cost": 10_800, "factor": "1.0000", "allocation": 0, "available": 18_000_000, "after": 17_989_200, "problem": "",
        "allowance_left": None,
    }  # fmt: skip
    assert not Job.objects.exists()


def test_a_project_without_hours_is_quoted_with_the_problem(
    program: Client, project: Project, a100: Partition, optics: Any
) -> None:
    poor = ProjectFactory.create(lab=optics, slug="poor")
    shape = {
        "project": poor.slug,
        "cluster": "firefly",
        "partition": "a100",
        "gpus": 1,
        "time_limit_minutes": 1,
    }
    answer = post(program, QUOTE, shape).json()
    assert answer["allocation"] is None
    assert "no GPU-hours" in answer["problem"]


@pytest.mark.parametrize("field", ["gpus", "time_limit_minutes", "tasks"])
@pytest.mark.parametrize(
    "value", [-1, 0, 10**30, 1.5, 2.0, "2", "1_000", "２", True, None, [], {}, "9" * 400, 10**17, 10**18]
)
def test_a_number_that_can_not_be_is_told_at_its_field(
    program: Client, body: dict[str, Any], field: str, value: Any
) -> None:
    for url, asked in (
        (JOBS, body),
        (QUOTE, {k: v for k, v in body.items() if k not in ("name", "script", "inputs")}),
    ):
        assert set(problem(post(program, url, asked | {field: value}))["errors"]) == {field}


@pytest.mark.parametrize("raw", ["NaN", "Infinity", "-Infinity", "1e400", "9" * 5000])
def test_a_number_that_is_none_in_json_is_refused(program: Client, body: dict[str, Any], raw: str) -> None:
    problem(post(program, JOBS, json.dumps(body).replace('"gpus": 2', f'"gpus": {raw}')))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "x" * 3000), ("name", "a\nb"), ("name", "\x1b[31m"), ("name", "a\u202eb"), ("name", "\0"), ("name", "\ud800"),
        ("name", ""), ("name", None), ("name", []), ("name", {"a": 1}), ("name", True),
        ("project", "nowhere"), ("project", "../../x"), ("project", 7), ("project", "x" * 3000), ("project", "\0"),
        ("cluster", "nowhere"), ("partition", "nowhere"), ("partition", "a100; rm -rf ~"),
        ("script", "abc"), ("script", "1 or 1=1"), ("script", None), ("script", []), ("script", 2**63),
        ("inputs", "abc"), ("inputs", ["abc"]), ("inputs", {}), ("inputs", [None]), ("inputs", [[]]), ("inputs", None),
        ("inputs", [str(uuid4())]), ("inputs", [str(uuid4())] * 1001),
        ("time_limit_minutes", 1441), ("gpus", 33), ("gpus", 9),
    ],
)  # fmt: skip
def test_what_can_not_be_is_told_at_its_field(
    program: Client, body: dict[str, Any], field: str, value: Any
) -> None:
    errors = problem(post(program, JOBS, body | {field: value}))["errors"]
    told = {name.split(".")[0] for name in errors}
    assert told == {"partition"} if field == "cluster" else told == {field}
    assert not Job.objects.exists()


def test_a_script_that_is_not_ones_own_is_told(program: Client, body: dict[str, Any], otto: User) -> None:
    theirs = str(uploaded(otto, "theirs.sh").pk)
    assert set(problem(post(program, JOBS, body | {"script": theirs}))["errors"]) == {"script"}


def test_a_script_that_can_not_be_run_is_told(program: Client, mei: User, body: dict[str, Any]) -> None:
    script = str(uploaded(mei, "b.sh", b"#!/bin/sh\r\n").pk)
    assert "Windows" in problem(post(program, JOBS, body | {"script": script}))["errors"]["script"][0]


@pytest.mark.parametrize(
    "field", ["name", "project", "cluster", "partition", "gpus", "time_limit_minutes", "script"]
)
def test_what_is_missing_is_named(program: Client, body: dict[str, Any], field: str) -> None:
    del body[field]
    assert set(problem(post(program, JOBS, body))["errors"]) == {field}


@pytest.mark.parametrize("field", ["owner", "state", "token", "id", "array", "account"])
def test_what_nobody_knows_is_refused(program: Client, body: dict[str, Any], field: str) -> None:
    assert set(problem(post(program, JOBS, body | {field: 1}))["errors"]) == {field}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "7",
        "null",
        '"x"',
        "{",
        "{'a': 1}",
        '{"gpus": 1, "gpus": 2}',
        "[" * 10_000,
        b"\xff\xfe",
        '{"a":' * 10_000,
    ],
)
def test_a_body_that_can_not_be_read_is_told(program: Client, text: str | bytes) -> None:
    for url in (JOBS, QUOTE):
        problem(post(program, url, text))


def test_a_huge_body_is_refused(program: Client) -> None:
    problem(post(program, JOBS, '{"name": "' + "x" * (3 << 20) + '"}'), 413)


def test_a_form_is_no_json(program: Client) -> None:
    problem(program.post(JOBS, {"name": "x"}), 415)


def test_too_few_hours_are_told(program: Client, body: dict[str, Any]) -> None:
    ledger.hold(Allocation.objects.get(), 5000 * 3600 - 1, reference="other")
    errors = problem(post(program, JOBS, body))["errors"]
    assert "available" in errors["non_field_errors"][0]


@pytest.mark.parametrize("who", ["ada", "sam", "ann", "fay"])
def test_who_may_not_submit_is_told(
    who: str,
    body: dict[str, Any],
    request: pytest.FixtureRequest,
    allocation: Allocation,
    client_for: ClientFor,
) -> None:
    client = client_for(request.getfixturevalue(who))
    problem(post(client, JOBS, body), 403)
    problem(post(client, QUOTE, {}), 403)


def test_a_stranger_can_not_submit_to_the_project(
    otto: User, body: dict[str, Any], client_for: ClientFor
) -> None:
    assert set(problem(post(client_for(otto), JOBS, body))["errors"]) == {"project"}


def test_who_is_logged_out_is_told(db: None, client: Client) -> None:
    for url in (JOBS, f"{JOBS}1/"):
        problem(client.get(url), 401)


def test_a_foreign_page_can_not_submit(mei: User, body: dict[str, Any]) -> None:
    careful = Client(enforce_csrf_checks=True)
    careful.force_login(mei)
    problem(post(careful, JOBS, body), 403)


# ── Following ───────────────────────────────────────────────────────────────


def test_jobs_are_listed_narrowed_and_sorted(
    program: Client, job: Job, mei: User, allocation: Allocation, a100: Partition
) -> None:
    JobFactory.create(owner=mei, allocation=allocation, partition=a100, name="Other", gpus=8)
    listed = program.get(f"{JOBS}?state=running&q=fringe&whose=mine&project=squeezed-light").json()
    assert [one["name"] for one in listed["results"]] == ["Fringe fit"]
    assert [one["name"] for one in program.get(f"{JOBS}?sort=-gpus").json()["results"]] == [
        "Other",
        "Fringe fit",
    ]


@pytest.mark.parametrize(
    "query",
    ["sort=password", "sort=-", "state=gone", "project=nowhere", "whose=everybody", "page=-1", "page=abc", "page_size=0",
     "page_size=10000000", "order_by=password", "token=a", "q=" + "x" * 3000],
)  # fmt: skip
def test_a_list_that_can_not_be_is_told(program: Client, job: Job, query: str) -> None:
    problem(program.get(f"{JOBS}?{query}"))


def test_a_job_tells_its_life(program: Client, job: Job) -> None:
    told = program.get(f"{JOBS}{job.pk}/").json()
    assert (told["state"], told["scheduler_id"], told["explanation"]) == ("running", "4711", "It is running.")
    assert "token" not in told


@pytest.mark.parametrize("part", ["", "log/", "files/", "files/1/content/"])
@pytest.mark.parametrize("who", ["otto", "fay"])
def test_to_a_stranger_it_does_not_exist(
    who: str, part: str, job: Job, request: pytest.FixtureRequest, client_for: ClientFor
) -> None:
    client = client_for(request.getfixturevalue(who))
    theirs, missing = client.get(f"{JOBS}{job.pk}/{part}"), client.get(f"{JOBS}{job.pk + 999}/{part}")
    problem(theirs, 404)
    assert theirs.content == missing.content
    assert client.get(JOBS).json()["results"] == []


@pytest.mark.parametrize("pk", ["abc", "1 or 1=1", str(2**63), "9" * 40, "-1"])
def test_an_id_that_is_none_does_not_exist(program: Client, pk: str) -> None:
    problem(program.get(f"{JOBS}{pk}/"), 404)


@pytest.mark.parametrize("who", ["ada", "sam", "ann"])
def test_who_may_not_read_gets_metadata_only(
    who: str, job: Job, request: pytest.FixtureRequest, client_for: ClientFor
) -> None:
    client = client_for(request.getfixturevalue(who))
    file = result(job)
    assert client.get(f"{JOBS}{job.pk}/").status_code == 200
    for part in ("log/", "files/", f"files/{file.pk}/content/"):
        problem(client.get(f"{JOBS}{job.pk}/{part}"), 403)


def test_the_log_is_text_and_asks_to_read_on(program: Client, job: Job, bell: Bell) -> None:
    with TestCase.captureOnCommitCallbacks(execute=True):
        told = program.get(f"{JOBS}{job.pk}/log/?stream=stderr").json()
    assert told == {"stream": "stderr", "task": 0, "text": "", "offset": 0, "read_at": None}
    assert bell.rang("jobs.tasks.read_logs") == [(job.pk,)]
    problem(program.get(f"{JOBS}{job.pk}/log/?stream=passwd"))


def test_it_can_be_cancelled(program: Client, job: Job) -> None:
    told = post(program, f"{JOBS}{job.pk}/cancel/", {}).json()
    assert told["state"] == "running"
    assert told["cancel_requested_at"]


def test_one_that_ended_can_not_be_cancelled(program: Client, job: Job) -> None:
    Job.objects.update(state=State.SUCCEEDED)
    problem(post(program, f"{JOBS}{job.pk}/cancel/", {}), 409)


def test_who_may_not_cancel_is_told(ada: User, job: Job, client_for: ClientFor) -> None:
    problem(post(client_for(ada), f"{JOBS}{job.pk}/cancel/", {}), 403)


def test_cancelling_takes_no_words(program: Client, job: Job) -> None:
    problem(post(program, f"{JOBS}{job.pk}/cancel/", {"why": "x"}))


# ── Results ─────────────────────────────────────────────────────────────────


def test_files_are_listed_page_by_page(program: Client, job: Job) -> None:
    for number in range(60):
        result(job, f"{number}.csv")
    listed = program.get(f"{JOBS}{job.pk}/files/").json()
    assert (listed["count"], len(listed["results"])) == (60, 20)
    assert set(listed["results"][0]) == {"id", "kind", "path", "size", "sha256", "modified_at"}


def test_a_file_is_on_its_way_and_then_here(program: Client, job: Job, bell: Bell) -> None:
    file = result(job, "metrics.json", b"{}")
    url = f"{JOBS}{job.pk}/files/{file.pk}/content/"
    with TestCase.captureOnCommitCallbacks(execute=True):
        waiting = program.get(url)
    assert (waiting.status_code, waiting.json()) == (202, {"state": "wanted", "received": 0, "size": 2})
    assert len(bell.rang("jobs.tasks.bring_file")) == 1
    Fetch.objects.all().delete()
    brought(file, b"{}")
    here = program.get(url, headers={"Accept": "application/octet-stream"})
    assert here.status_code == 200
    assert b"".join(cast(Any, here).streaming_content) == b"{}"
    assert here["Content-Security-Policy"] == "default-src 'none'; sandbox"


def test_a_failure_is_told_and_later_tried_again(program: Client, job: Job) -> None:
    file = result(job)
    url = f"{JOBS}{job.pk}/files/{file.pk}/content/"
    Fetch.objects.create(
        job_file=file, asked_by=job.owner, state=Fetch.State.FAILED, message="no space left."
    )
    assert "no space left" in problem(program.get(url), 502)["detail"]
    Fetch.objects.update(asked_at=timezone.now() - timedelta(minutes=1))
    assert program.get(url).status_code == 202


def test_a_file_that_was_sent_is_no_result(program: Client, job: Job) -> None:
    sent = JobFile.objects.create(job=job, kind=JobFile.Kind.INPUT, path="x.csv", size=1)
    problem(program.get(f"{JOBS}{job.pk}/files/{sent.pk}/content/"), 404)


def test_uploads_have_the_same_door_here(program: Client) -> None:
    answer = program.post(
        "/api/v1/uploads/",
        headers={"Tus-Resumable": "1.0.0", "Upload-Length": "0", "Upload-Metadata": "filename YQ=="},
    )
    assert answer.status_code == 201
    assert answer["Location"].startswith("/api/v1/uploads/")
    told = program.head(answer["Location"], headers={"Tus-Resumable": "1.0.0"})
    assert told["Upload-Offset"] == "0"
    problem(program.patch("/api/v1/uploads/" + str(uuid4()), headers={"Tus-Resumable": "1.0.0"}), 404)


def test_the_description_knows_it_all_without_a_warning(mei: User, client_for: ClientFor) -> None:
    schema = client_for(mei).get("/api/v1/schema/", headers={"Accept": "application/json"}).json()
    assert {"/api/v1/jobs/", "/api/v1/jobs/{id}/files/{file_id}/content/", "/api/v1/quote/"} <= set(
        schema["paths"]
    )
