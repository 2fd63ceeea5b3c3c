"""What the centre answers, by the API: the same rules as on the pages, problems in words."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounting.actions.policies import set_policy
from accounting.models import Allocation, AllocationRequest, Cluster, Review, Tranche, policy_of
from portal.models import Project, User
from tests.factories import AllocationRequestFactory, CallFactory, TechnicalReviewFactory
from tests.pages import browser

REQUESTS = "/api/v1/requests/"
HOURS = 3600


@pytest.fixture
def asked(project: Project, firefly: Cluster, ivo: User) -> AllocationRequest:
    return AllocationRequestFactory.create(project=project, cluster=firefly, created_by=ivo, gpu_hours=4000)


def post(user: User, url: str, body: Any = None) -> Any:
    return browser(user).post(url, json.dumps(body or {}), content_type="application/json")


def test_two_approve_by_program(
    sam: User, ann: User, ivo: User, firefly: Cluster, asked: AllocationRequest
) -> None:
    set_policy(by=sam, cluster=firefly, two_approvers_above=1000 * HOURS)
    url = f"{REQUESTS}{asked.pk}/"
    today = timezone.now().date()
    parts = [
        {"available_from": str(today), "gpu_seconds": 1000 * HOURS},
        {"available_from": str(today + timedelta(days=9)), "gpu_seconds": 1000 * HOURS},
    ]
    award = {"gpu_seconds": 2000 * HOURS, "conditions": "Publish.", "tranches": parts}
    answer = post(sam, f"{url}approve/", award).json()
    assert (answer["state"], answer["reviews"][0]["tranches"]) == ("endorsed", parts)
    lab = browser(ivo).get(url).json()
    assert lab["reviews"] == []
    proposed = answer["reviews"][0]["id"]
    assert "endorsement" in post(ann, f"{url}agree/", {"endorsement": proposed + 1}).json()["errors"]
    assert post(sam, f"{url}agree/", {"endorsement": proposed}).status_code == 403
    assert post(ann, f"{url}agree/", {"endorsement": proposed}).json()["state"] == "approved"
    assert Allocation.objects.count() == 1
    lab = browser(ivo).get(url).json()["reviews"]
    assert [(one["verdict"], one["conditions"], one["by_policy"]) for one in lab] == [
        ("approved", "Publish.", False)
    ]


@pytest.mark.parametrize(
    ("award", "field"),
    [
        ({"gpu_seconds": 0}, "gpu_seconds"),
        ({"gpu_seconds": 4001 * HOURS}, "gpu_seconds"),
        ({"gpu_seconds": 10**30}, "gpu_seconds"),
        ({"gpu_seconds": HOURS, "end": "2026-12-31"}, "end"),
        ({"gpu_seconds": HOURS, "tranches": [{"available_from": "TODAY", "gpu_seconds": 7}]}, "non_field"),
        ({"gpu_seconds": HOURS, "tranches": [{"available_from": "x", "gpu_seconds": HOURS}]}, "tranches"),
        ({"gpu_seconds": HOURS, "tranches": 5}, "tranches"),
        ({"gpu_seconds": HOURS, "grant": True}, "grant"),
    ],
)
def test_an_award_that_can_not_be_is_refused_at_its_field(
    sam: User, asked: AllocationRequest, award: dict[str, Any], field: str
) -> None:
    body = json.loads(json.dumps(award).replace("TODAY", str(timezone.now().date())))
    answer = post(sam, f"{REQUESTS}{asked.pk}/approve/", body)
    assert answer.status_code == 400
    assert any(name.startswith(field) for name in answer.json()["errors"]), answer.json()
    assert not Review.objects.exists() and not Tranche.objects.exists()


def test_a_return_comments_on_known_fields(sam: User, ivo: User, asked: AllocationRequest) -> None:
    url = f"{REQUESTS}{asked.pk}/return/"
    wrong = post(sam, url, {"comment": "See below.", "field_comments": {"state": "Approve yourself."}})
    assert (wrong.status_code, list(wrong.json()["errors"])) == (400, ["field_comments.state"])
    post(sam, url, {"comment": "See below.", "field_comments": {"title": "Shorter."}})
    review = browser(ivo).get(f"{REQUESTS}{asked.pk}/").json()["reviews"][0]
    assert review["field_comments"] == [{"field": "title", "text": "Shorter."}]


def test_technical_reviews_by_program(sam: User, ann: User, ivo: User, asked: AllocationRequest) -> None:
    url = f"{REQUESTS}{asked.pk}/technical-reviews/"
    due = str(timezone.now().date())
    for nobody in ("ivo@example.org", "nowhere@example.org"):
        answer = post(sam, url, {"reviewer": nobody, "due": due})
        assert answer.json()["errors"] == {
            "reviewer": ["Nobody of the centre who can review this has that address."]
        }
    made = post(sam, url, {"reviewer": "ann@example.org", "due": due})
    assert made.status_code == 201
    assert post(sam, url, {"reviewer": "ann@example.org", "due": due}).status_code == 409
    one = f"/api/v1/technical-reviews/{made.json()['id']}/"
    wrong = post(ann, f"{one}write/", {"has_no_conflict": False, "score": 9, "comment": "x"})
    assert {*wrong.json()["errors"]} == {"has_no_conflict", "score"}
    written = post(ann, f"{one}write/", {"has_no_conflict": True, "score": 4, "comment": "Sound."})
    assert (written.json()["state"], written.json()["score"]) == ("written", 4)
    assert browser(sam).get("/api/v1/technical-reviews/").json()["count"] == 1
    assert browser(ivo).get("/api/v1/technical-reviews/").json()["count"] == 0


def test_who_is_of_the_lab_reads_no_review_though_of_the_centre(ann: User, asked: AllocationRequest) -> None:
    AllocationRequest.objects.update(created_by=ann)
    review = TechnicalReviewFactory.create(request=asked)
    assert browser(ann).get(f"/api/v1/technical-reviews/{review.pk}/").status_code == 404


def test_calls_by_program(sam: User, ivo: User, firefly: Cluster) -> None:
    CallFactory.create(cluster=firefly, opens_at=timezone.now() - timedelta(days=99), title="Over")
    body = {
        "title": "Spring",
        "text": "For all.",
        "cluster": "firefly",
        "opens_at": "2026-01-01T00:00:00Z",
        "closes_at": str((timezone.now() + timedelta(days=3)).isoformat()),
    }
    made = post(sam, "/api/v1/calls/", body)
    assert (made.status_code, made.json()["is_open"], made.json()["gpu_seconds"]) == (201, True, None)
    assert [call["title"] for call in browser(ivo).get("/api/v1/calls/").json()["results"]] == ["Spring"]
    backwards = body | {"closes_at": "2025-01-01T00:00:00Z"}
    assert "closes_at" in post(sam, "/api/v1/calls/", backwards).json()["errors"]
    url = f"/api/v1/calls/{made.json()['id']}/close/"
    assert post(sam, url).json()["is_open"] is False
    assert post(sam, url).status_code == 409


def test_rules_by_program(sam: User, ann: User, firefly: Cluster) -> None:
    url = "/api/v1/policies/firefly/"
    assert browser(ann).get(url).json()["report_before_renewal"] is True
    answer = post(sam, f"{url}set/", {"grace_days": 14})
    assert (answer.json()["grace_days"], answer.json()["carry_over_percent"]) == (14, 0)
    assert "carry_over_percent" in post(sam, f"{url}set/", {"carry_over_percent": 101}).json()["errors"]
    assert policy_of(firefly).grace_days == 14
    assert browser(ann).get("/api/v1/policies/").json()["results"][0]["cluster"] == "firefly"
