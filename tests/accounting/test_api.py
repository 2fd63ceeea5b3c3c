"""The API of hours does what the pages do, for the same people."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounting.models import Allocation, AllocationRequest, Cluster
from accounting.usage import record_runs
from portal.models import Project, User
from tests.factories import AllocationFactory, AllocationRequestFactory, RunFactory
from tests.pages import browser, queries_of

REQUESTS = "/api/v1/requests/"
HOUR = 3600


def post(user: User, url: str, body: Any = None) -> Any:
    return browser(user).post(url, json.dumps({} if body is None else body), content_type="application/json")


def wish(**other: Any) -> dict[str, Any]:
    today = timezone.now().date()
    return {
        "project": "squeezed-light",
        "cluster": "firefly",
        "gpu_seconds": 100 * HOUR,
        "start": str(today),
        "end": str(today + timedelta(days=30)),
        "justification": "Because.",
    } | other


@pytest.fixture
def asked(project: Project, firefly: Cluster, ivo: User) -> AllocationRequest:
    return AllocationRequestFactory.create(project=project, cluster=firefly, created_by=ivo, gpu_hours=4000)


def test_clusters_tell_partitions_and_prices(mei: User, allocation: Allocation) -> None:
    [cluster] = browser(mei).get("/api/v1/clusters/").json()["results"]
    assert [(one["name"], one["factor"], one["gpu_count"]) for one in cluster["partitions"]] == [
        ("a100", "1", 32),
        ("a100-preemptible", "0.5", 32),
    ]
    assert browser(mei).get("/api/v1/clusters/firefly/").json() == cluster


def test_projects_are_those_i_may_see(mei: User, otto: User, project: Project) -> None:
    assert [one["slug"] for one in browser(mei).get("/api/v1/projects/").json()["results"]] == [
        "squeezed-light"
    ]
    assert browser(otto).get("/api/v1/projects/").json()["results"] == []


def test_an_allocation_has_its_balance_and_its_ledger(mei: User, otto: User, allocation: Allocation) -> None:
    record_runs(
        [RunFactory.create(job_id="530_1")], cluster=allocation.cluster, as_of=timezone.now(), in_queue=()
    )
    url = f"/api/v1/allocations/{allocation.pk}/"
    balance = browser(mei).get(url).json()["balance"]
    assert balance == {
        "granted": 5000 * HOUR,
        "used": 2 * HOUR,
        "held": 0,
        "expired": 0,
        "balance": 4998 * HOUR,
        "available": 4998 * HOUR,
    }
    charge, grant = browser(mei).get(url + "ledger/").json()["results"]
    assert (charge["kind"], charge["job_id"], charge["balance_after"]) == ("charge", "530_1", 4998 * HOUR)
    assert (grant["kind"], grant["job_id"]) == ("grant", None)
    for path in (url, url + "ledger/"):
        assert browser(otto).get(path).status_code == 404


def test_more_allocations_take_no_more_queries(sam: User, allocation: Allocation) -> None:
    few = queries_of(browser(sam), "/api/v1/allocations/")
    AllocationFactory.create_batch(4)
    assert queries_of(browser(sam), "/api/v1/allocations/") == few


def test_a_pi_asks_and_staff_approve_in_part(
    ivo: User, sam: User, project: Project, firefly: Cluster
) -> None:
    made = post(ivo, REQUESTS, wish())
    assert (made.status_code, made.json()["state"]) == (201, "submitted")
    url = f"{REQUESTS}{made.json()['id']}/"
    done = post(sam, url + "approve/", {"gpu_seconds": 40 * HOUR, "comment": "To begin with."})
    assert (done.status_code, done.json()["state"]) == (200, "approved")
    assert done.json()["reviews"][0]["gpu_seconds_awarded"] == 40 * HOUR
    assert browser(ivo).get("/api/v1/allocations/").json()["results"][0]["balance"]["available"] == 40 * HOUR


def test_a_draft_is_submitted_and_withdrawn(ivo: User, project: Project, firefly: Cluster) -> None:
    url = f"{REQUESTS}{post(ivo, REQUESTS, wish(submit=False)).json()['id']}/"
    assert post(ivo, url + "submit/").json()["state"] == "submitted"
    assert post(ivo, url + "withdraw/").json()["state"] == "withdrawn"
    assert post(ivo, url + "withdraw/").status_code == 409


@pytest.mark.parametrize(("deed", "state"), [("return", "returned"), ("reject", "rejected")])
def test_a_refusal_needs_its_reason(sam: User, asked: AllocationRequest, deed: str, state: str) -> None:
    url = f"{REQUESTS}{asked.pk}/{deed}/"
    assert "comment" in post(sam, url).json()["errors"]
    assert post(sam, url, {"comment": "How long is one run?"}).json()["state"] == state


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "gpu_seconds"),
        ({"gpu_seconds": 0}, "gpu_seconds"),
        ({"gpu_seconds": 4001 * HOUR}, "gpu_seconds"),
        ({"gpu_seconds": 10**30}, "gpu_seconds"),
        ({"gpu_seconds": 1, "state": "x"}, "state"),
        ([], "non_field_errors"),
    ],
)
def test_a_wrong_approval_is_named(sam: User, asked: AllocationRequest, body: Any, field: str) -> None:
    answer = post(sam, f"{REQUESTS}{asked.pk}/approve/", body)
    assert answer.status_code == 400
    assert field in answer.json()["errors"]
    assert not Allocation.objects.exists()


def test_rights_are_those_of_the_pages(
    mei: User, otto: User, ivo: User, ann: User, asked: AllocationRequest
) -> None:
    assert post(mei, REQUESTS, wish()).status_code == 403
    assert "project" in post(otto, REQUESTS, wish()).json()["errors"]
    refused = post(ivo, f"{REQUESTS}{asked.pk}/approve/", {"gpu_seconds": HOUR})
    assert (refused.status_code, "nobody on their own" in refused.json()["detail"]) == (403, True)
    for deed in ("submit", "withdraw", "approve", "return", "reject"):
        assert post(otto, f"{REQUESTS}{asked.pk}/{deed}/").status_code == 404
    assert post(ann, f"{REQUESTS}{asked.pk}/approve/", {"gpu_seconds": HOUR}).status_code == 200
    assert post(ann, f"{REQUESTS}{asked.pk}/approve/", {"gpu_seconds": HOUR}).status_code == 409
