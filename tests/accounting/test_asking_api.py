"""Programs ask as people do: the same actions, strict bodies, problem documents."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone

from accounting.models import Allocation, AllocationRequest, Attachment, Cluster, Partition, Publication
from portal.models import Project, User
from tests.factories import AllocationFactory, AllocationRequestFactory, ProjectFactory
from tests.pages import browser
from tests.pdfs import pdf

URL = "/api/v1/requests/"


def send(user: User, url: str, body: Mapping[str, Any], method: str = "POST") -> Any:
    return browser(user).generic(method, url, json.dumps(body), content_type="application/json")


def wish(allocation: Allocation, **other: Any) -> dict[str, Any]:
    today = timezone.now().date()
    return {
        "project": allocation.project.slug,
        "cluster": allocation.cluster.name,
        "lines": [
            {"partition": "a100", "gpu_seconds": 7200, "justification": "Two runs."},
            {"partition": "a100-preemptible", "gpu_seconds": 3600},
        ],
        "start": f"{today}",
        "end": f"{today + timedelta(days=30)}",
        "justification": "Because.",
        "people": "All of us.",
        "software": "PyTorch.",
    } | other


@pytest.fixture
def draft(allocation: Allocation, ivo: User) -> AllocationRequest:
    answer = send(ivo, URL, {"project": allocation.project.slug, "cluster": "firefly", "submit": False})
    assert answer.status_code == 201, answer.content
    return AllocationRequest.objects.latest("pk")


def test_all_of_a_request_is_said_at_once(ivo: User, allocation: Allocation) -> None:
    answer = send(ivo, URL, wish(allocation))
    assert answer.status_code == 201, answer.content
    told = answer.json()
    assert (told["state"], told["gpu_seconds_asked"], told["people"]) == ("submitted", 9000, "All of us.")
    assert told["lines"][0] == {"partition": "a100", "gpu_seconds": 7200, "justification": "Two runs."}


def test_a_draft_is_filled_bit_by_bit_and_then_sent(
    ivo: User, draft: AllocationRequest, allocation: Allocation
) -> None:
    url = f"{URL}{draft.pk}/"
    missing = send(ivo, f"{url}submit/", {})
    assert missing.status_code == 400 and "justification" in missing.json()["errors"]
    for name in ("justification", "start", "end", "lines"):
        assert send(ivo, url, {name: wish(allocation)[name]}, "PATCH").status_code == 200
    assert send(ivo, f"{url}submit/", {}).json()["state"] == "submitted"
    late = send(ivo, url, {"people": "Late."}, "PATCH")
    assert late.status_code == 409 and "can no longer be changed" in late.json()["detail"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("lines", [{"partition": "nowhere", "gpu_seconds": 1}]),
        ("lines", [{"partition": "a100", "gpu_seconds": 1}, {"partition": "a100", "gpu_seconds": 2}]),
        ("lines", [{"partition": "a100", "gpu_seconds": 10**30}]),
        ("lines", [{"partition": "a100", "gpu_seconds": 1, "why": "x"}]),
        ("lines", "all"),
        ("lines", [{"partition": "a100", "gpu_seconds": 1}] * 101),
        ("lines", []),
        ("gpu_seconds", 5),
        ("call", 2**63),
        ("call", True),
        ("call", 987_654),
        ("kind", "gift"),
        ("kind", "supplement"),
        ("to_project", "squeezed-light"),
        ("end", "2001-01-01"),
        ("start", "2026-02-30"),
        ("people", "x" * 5001),
        ("unknown", 1),
    ],
)
def test_what_is_wrong_is_told_by_field(ivo: User, allocation: Allocation, field: str, value: Any) -> None:
    answer = send(ivo, URL, wish(allocation, **{field: value}))
    assert answer.status_code == 400, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["errors"]


@pytest.mark.parametrize(
    "body",
    [{"lines": [{"partition": "x", "gpu_seconds": 1}]}, {"kind": "new"}, {"cluster": "x"}, {"end": "x"}],
)
def test_a_wrong_change_is_told_by_field(ivo: User, draft: AllocationRequest, body: dict[str, Any]) -> None:
    assert send(ivo, f"{URL}{draft.pk}/", body, "PATCH").status_code == 400


def test_a_foreign_allocation_is_like_none(ivo: User, allocation: Allocation) -> None:
    body = {**wish(allocation), "kind": "supplement"}
    del body["cluster"]
    theirs = send(ivo, URL, body | {"allocation": AllocationFactory.create().pk})
    nothing = send(ivo, URL, body | {"allocation": 987_654_321})
    assert theirs.status_code == nothing.status_code == 400
    assert set(theirs.json()["errors"]) == {"allocation"} == set(nothing.json()["errors"])
    mine = send(ivo, URL, body | {"allocation": allocation.pk})
    assert (mine.status_code, mine.json()["allocation"]) == (201, allocation.pk)


def test_a_transfer_is_offered_and_agreed_to(
    ivo: User, vera: User, allocation: Allocation, folding: Any
) -> None:
    ProjectFactory.create(lab=folding, slug="helices", funder=allocation.project.funder)
    body = {
        "project": allocation.project.slug, "kind": "transfer", "allocation": allocation.pk,
        "to_project": "helices", "gpu_seconds": 3600, "justification": "Secret.",
    }  # fmt: skip
    too_many = send(ivo, URL, body | {"gpu_seconds": 10**12})
    assert too_many.status_code == 400
    made = send(ivo, URL, body)
    assert made.status_code == 201, made.content
    offer = f"{URL}{made.json()['id']}/consent/"
    told = browser(vera).get(offer)
    assert told.json()["gpu_seconds"] == 3600 and "Secret" not in told.content.decode()
    assert browser(ivo).get(offer).status_code == 404
    assert send(vera, offer, {"agree": "perhaps"}).status_code == 400
    assert send(vera, offer, {"agree": True}).json()["consented_at"]
    assert send(vera, offer, {"agree": False}).status_code == 409


def test_a_pdf_is_attached_as_the_body_or_in_a_form(
    ivo: User, vera: User, mei: User, sam: User, draft: AllocationRequest
) -> None:
    url, client = f"{URL}{draft.pk}/attachments/", browser(ivo)
    raw = client.generic("POST", f"{url}?name=../a.pdf", pdf(), content_type="application/pdf")
    assert (raw.status_code, raw.json()["name"], raw.json()["pages"]) == (201, "a.pdf", 1)
    form = client.post(url, {"file": SimpleUploadedFile("b.pdf", pdf(pages=2), "application/pdf")})
    assert (form.status_code, form.json()["pages"]) == (201, 2)
    kept = Attachment.objects.first()
    assert kept
    content = f"{url}{kept.pk}/content/"
    assert b"".join(client.get(content)) == pdf()
    for stranger in (vera, mei, sam):
        assert browser(stranger).get(content).status_code == 404
    assert client.delete(f"{url}{kept.pk}/").status_code == 204
    assert Attachment.objects.count() == 1


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"%PDF-nonsense", "application/pdf", 400),
        (b"", "application/pdf", 400),
        (b"%PDF-1.7\n" + b"x" * 11 * 1024**2, "application/pdf", 400),
        (b"{}", "application/json", 415),
        (b"--x\r\nfoo", "multipart/form-data; boundary=x", 400),
        (b"x", "multipart/form-data", 400),
    ],
)
def test_a_body_that_is_no_pdf_is_refused(
    ivo: User, draft: AllocationRequest, content: bytes, kind: str, status: int
) -> None:
    answer = browser(ivo).generic("POST", f"{URL}{draft.pk}/attachments/", content, content_type=kind)
    assert (answer.status_code, answer["Content-Type"]) == (status, "application/problem+json"), (
        answer.content
    )
    assert not Attachment.objects.exists()


def test_a_project_is_proposed_with_its_publications(ivo: User, optics: Any, firefly: Cluster) -> None:
    body = {"lab": optics.account, "title": "Slow light", "abstract": "How slow?", "field_of_science": "1.3"}
    made = send(ivo, "/api/v1/projects/", body)
    assert (made.status_code, made.json()["state"], made.json()["slug"]) == (201, "proposed", "slow-light")
    papers = "/api/v1/projects/slow-light/publications/"
    paper = {"doi": "doi:10.1000/X", "title": "On it", "year": 2026}
    assert send(ivo, papers, paper).json()["doi"] == "10.1000/x"
    assert send(ivo, papers, paper).status_code == 400
    assert browser(ivo).get(papers).json()["count"] == Publication.objects.count() == 1
    for field, value in (("year", 10**30), ("year", 1), ("doi", "x"), ("title", "")):
        assert send(ivo, papers, paper | {field: value}).status_code == 400
    assert send(ivo, "/api/v1/projects/", body | {"field_of_science": "Alchemy"}).status_code == 400
    assert Project.objects.count() == 1


def test_more_requests_take_no_more_queries(
    ivo: User, allocation: Allocation, a100: Partition, django_assert_max_num_queries: Any
) -> None:
    for _number in range(5):
        asked = AllocationRequestFactory.create(
            project=allocation.project, cluster=allocation.cluster, created_by=ivo
        )
        asked.lines.create(partition=a100, gpu_seconds=60)
    client = browser(ivo)
    client.get(URL)
    with django_assert_max_num_queries(15):
        assert client.get(URL).json()["count"] >= 5
    edit = AllocationRequestFactory.create(
        project=allocation.project, cluster=allocation.cluster, created_by=ivo, state="draft"
    )
    with django_assert_max_num_queries(15):
        assert client.get(f"/requests/{edit.pk}/edit/").status_code == 200
    with django_assert_max_num_queries(15):
        assert client.get(f"/requests/{asked.pk}/").status_code == 200
