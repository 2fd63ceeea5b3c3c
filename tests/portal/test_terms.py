"""Terms in versions: the centre publishes, people accept the one in force before their next job."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.test import Client

from accounting.models import Allocation, Partition
from jobs.models import Job, Upload
from portal.actions import terms as actions
from portal.models import AuditEvent, Project, Terms, TermsAcceptance, User
from portal.transitions import Overtaken
from tests.factories import TermsFactory
from tests.jobs.at_hand import filled_in, uploaded
from tests.pages import browser, words

PAGE = "/terms/"


def test_nothing_published_is_nothing_to_accept(mei: User, client: Client) -> None:
    actions.check_accepted(mei)
    assert "There is nothing to accept" in words(client.get(PAGE))


def test_staff_publish_a_version_in_both_languages(sam: User, mei: User, client: Client) -> None:
    url = "/terms/publish/"
    assert "Type the text in Chinese" in words(browser(sam).post(url, {"text_en": "Be kind."}))
    for text in ("Be kind.", "Be kinder.\n\nAlways."):
        browser(sam).post(url, {"text_en": text, "text_zh_hans": "与人为善。"})
    assert [*Terms.objects.values_list("version", flat=True)] == [2, 1]
    page = client.get(PAGE)
    assert "Version 2, in force since" in words(page)
    assert "<p>Always.</p>" in page.content.decode()
    assert "与人为善" in client.get(PAGE, headers={"Accept-Language": "zh-hans"}).content.decode()
    assert AuditEvent.objects.filter(action="terms published", actor=sam).count() == 2


def test_the_two_texts_have_their_own_versions(sam: User, client: Client) -> None:
    text = {"text_en": "You answer for your people.", "text_zh_hans": "机构负责。"}
    browser(sam).post("/terms/publish/?kind=agreement", text)
    assert Terms.objects.get().kind == Terms.Kind.AGREEMENT
    assert "You answer for your people." in words(client.get(f"{PAGE}?kind=agreement"))
    assert "There is nothing to accept" in words(client.get(PAGE))


def test_only_staff_publish(ada: User) -> None:
    with pytest.raises(PermissionDenied):
        actions.publish(by=ada, kind=Terms.Kind.USE, text_en="x", text_zh_hans="x")
    assert browser(ada).get("/terms/publish/").status_code == 403


def test_who_accepted_the_last_version_accepts_the_new_one(mei: User, allocation: Allocation) -> None:
    actions.accept(by=mei, terms=TermsFactory.create())
    actions.check_accepted(mei)
    assert "terms of use" not in words(browser(mei).get("/"))
    TermsFactory.create(version=2)
    with pytest.raises(actions.TermsNotAccepted, match="version 2"):
        actions.check_accepted(mei)
    assert "Version 2 of the terms of use is in force." in words(browser(mei).get("/"))
    answer = browser(mei).post("/terms/accept/", {"version": "2"}, follow=True)
    assert "Accepted. You can submit jobs." in words(answer)
    actions.check_accepted(mei)
    assert "accepted" in words(browser(mei).get(PAGE))


def test_accepting_twice_is_once(mei: User) -> None:
    TermsFactory.create()
    for _n in range(2):
        browser(mei).post("/terms/accept/", {"version": "1"})
    assert TermsAcceptance.objects.count() == 1
    assert AuditEvent.objects.filter(action="terms accepted").count() == 1


def test_what_one_has_not_read_is_not_accepted(mei: User) -> None:
    old = TermsFactory.create()
    TermsFactory.create(version=2)
    assert "newer version" in words(browser(mei).post("/terms/accept/", {"version": "1"}, follow=True))
    with pytest.raises(Overtaken):
        actions.accept(by=mei, terms=old)
    for odd in ("", "x", "-1", "9" * 400, "１", "3"):
        browser(mei).post("/terms/accept/", {"version": odd})
    assert not TermsAcceptance.objects.exists()


# ── Before a job ────────────────────────────────────────────────────────────


@pytest.fixture
def page(mei: User, allocation: Allocation, client_for: Callable[[User], Client]) -> Client:
    TermsFactory.create()
    return client_for(mei)


def test_submitting_says_so_and_loses_nothing(
    page: Client, mei: User, project: Project, a100: Partition
) -> None:
    script = uploaded(mei)
    data = filled_in(project, a100, script, uploaded(mei, "data/x.csv", b"1,2"), name="My long typed name")
    answer = page.post("/jobs/new/", data)
    assert answer.status_code == 422
    assert "Read and accept the terms of use, version 1, before you submit." in words(answer)
    shown = answer.content.decode()
    assert 'href="/terms/"' in shown and "My long typed name" in shown
    assert all(name in shown for name in ("run.sh", "data/x.csv"))
    assert not Job.objects.exists()
    assert Upload.objects.count() == 2
    page.post("/terms/accept/", {"version": "1"})
    assert page.post("/jobs/new/", data).status_code == 302
    assert Job.objects.get().name == "My long typed name"


def test_the_api_says_so_with_the_address(page: Client, mei: User, project: Project, a100: Partition) -> None:
    body: dict[str, Any] = {
        "project": project.slug, "cluster": a100.cluster.name, "partition": a100.name, "gpus": 2,
        "time_limit_minutes": 90, "name": "x", "script": str(uploaded(mei).pk), "inputs": [],
    }  # fmt: skip
    answer = page.post("/api/v1/jobs/", body, content_type="application/json")
    assert answer.status_code == 403
    assert answer["Content-Type"] == "application/problem+json"
    assert "accept the terms of use" in answer.json()["detail"] and "/terms/" in answer.json()["detail"]
    actions.accept(by=mei, terms=Terms.objects.get())
    assert page.post("/api/v1/jobs/", body, content_type="application/json").status_code == 201


def test_who_submits_nothing_is_left_in_peace(sam: User) -> None:
    TermsFactory.create()
    assert "terms of use is in force" not in words(browser(sam).get("/"))
