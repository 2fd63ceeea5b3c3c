"""A draft saves itself while one types, keeps what can't be taken yet, and two tabs are told of each other."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounting.actions import reviews
from accounting.models import AllocationRequest, Cluster, FieldComment, Partition
from portal.models import AuditEvent, Project, User
from tests.factories import AllocationRequestFactory
from tests.pages import assert_like_nowhere, browser, words

NEW = "/projects/squeezed-light/request/autosave/"


@pytest.fixture
def draft(project: Project, firefly: Cluster, a100: Partition, ivo: User) -> AllocationRequest:
    return AllocationRequestFactory.create(
        project=project, cluster=firefly, created_by=ivo, state="draft", gpu_hours=0, justification="",
        start=None, end=None,
    )  # fmt: skip


def typed(cluster: Cluster, **other: str) -> dict[str, str]:
    return {"cluster": str(cluster.pk), "start": "", "end": "", "justification": "", "version": "0"} | other


def autosave(user: User, draft: AllocationRequest, **other: str) -> Any:
    return browser(user).post(f"/requests/{draft.pk}/autosave/", typed(draft.cluster, **other))


def test_the_first_words_make_the_draft(
    ivo: User, project: Project, firefly: Cluster, a100: Partition
) -> None:
    answer = browser(ivo).post(NEW, typed(firefly, justification="Two hundred"))
    draft = AllocationRequest.objects.get()
    assert (draft.state, draft.justification, draft.start) == ("draft", "Two hundred", None)
    assert answer.json()["edit"] == f"/requests/{draft.pk}/edit/"
    assert answer.json()["autosave"] == f"/requests/{draft.pk}/autosave/"


def test_what_cannot_be_taken_yet_is_kept_as_typed(
    ivo: User, draft: AllocationRequest, a100: Partition
) -> None:
    rows = {f"hours_{a100.pk}": "lots", f"why_{a100.pk}": "Because."}
    answer = autosave(ivo, draft, start="2001-01-01", justification="Kept.", **rows)
    assert answer.status_code == 200
    draft.refresh_from_db()
    assert (draft.justification, draft.start, draft.gpu_seconds_asked) == ("Kept.", None, 0)
    page = browser(ivo).get(f"/requests/{draft.pk}/edit/").content.decode()
    for text in ("lots", "2001-01-01", "Because.", "Kept."):
        assert text in page
    sent = browser(ivo).post(f"/requests/{draft.pk}/submit/", follow=True)
    assert "Something that was typed can't be taken yet" in words(sent)
    assert AllocationRequest.objects.get().state == "draft"


def test_what_is_mended_is_not_unfinished_any_more(
    ivo: User, draft: AllocationRequest, a100: Partition
) -> None:
    autosave(ivo, draft, **{f"hours_{a100.pk}": "lots"})
    autosave(ivo, draft, version="1", **{f"hours_{a100.pk}": "12.5"})
    draft.refresh_from_db()
    assert (draft.unfinished, draft.gpu_seconds_asked) == ({}, 45_000)


def test_the_last_who_writes_wins_and_is_told(ivo: User, ada: User, draft: AllocationRequest) -> None:
    assert autosave(ivo, draft, justification="Mine.").json()["sentence"] == ""
    answer = autosave(ada, draft, justification="Hers.").json()
    assert "also changed elsewhere" in answer["sentence"]
    assert answer["version"] == 2
    draft.refresh_from_db()
    assert draft.justification == "Hers."


def test_many_saves_of_one_person_are_one_line_of_the_audit(
    ivo: User, ada: User, draft: AllocationRequest
) -> None:
    for text in ("a", "ab", "abc"):
        autosave(ivo, draft, justification=text)
    autosave(ada, draft, justification="abcd")
    changes = AuditEvent.objects.about(draft).filter(action="allocation request changed")
    assert [event.actor for event in changes.order_by("pk")] == [ivo, ada]


def test_what_was_sent_meanwhile_is_not_changed(ivo: User, draft: AllocationRequest) -> None:
    AllocationRequest.objects.update(
        state="submitted", gpu_seconds_asked=3600, start="2026-01-01", end="2026-12-31"
    )
    answer = autosave(ivo, draft, justification="Late.")
    assert answer.status_code == 409
    assert "can no longer be changed" in answer.json()["sentence"]


def test_nobody_else_saves_it(otto: User, vera: User, mei: User, sam: User, draft: AllocationRequest) -> None:
    for person in (otto, vera, mei, sam):
        assert autosave(person, draft).status_code == 404
        assert_like_nowhere(browser(person), f"/requests/{draft.pk}/edit/")


def test_an_unfinished_draft_is_not_sent(ivo: User, draft: AllocationRequest) -> None:
    answer = browser(ivo).post(f"/requests/{draft.pk}/submit/", follow=True)
    assert answer.redirect_chain[-1][0] == f"/requests/{draft.pk}/edit/"
    assert "Say what the hours are for" in words(answer)
    page = words(browser(ivo).get(f"/requests/{draft.pk}/"))
    assert "not said yet" in page


def test_the_centre_s_comments_stand_beside_the_fields(
    ivo: User, sam: User, project: Project, firefly: Cluster, a100: Partition
) -> None:
    asked = AllocationRequestFactory.create(project=project, cluster=firefly, created_by=ivo)
    review = reviews.return_request(by=sam, request=asked, comment="Nearly there.")
    for field, text in (("justification", "How long is one run?"), ("lines", "Why so many?")):
        FieldComment.objects.create(review=review, field=field, text=text)
    page = words(browser(ivo).get(f"/requests/{asked.pk}/edit/"))
    for text in ("Nearly there.", "How long is one run?", "Why so many?"):
        assert text in page


def test_a_copy_of_what_was_rejected_is_a_draft(
    ivo: User, sam: User, project: Project, firefly: Cluster, a100: Partition
) -> None:
    asked = AllocationRequestFactory.create(project=project, cluster=firefly, created_by=ivo)
    asked.lines.create(partition=a100, gpu_seconds=7200, justification="Why.")
    reviews.reject_request(by=sam, request=asked, comment="Not now.")
    browser(ivo).post(f"/requests/{asked.pk}/copy/")
    copy = AllocationRequest.objects.latest("pk")
    assert (copy.state, copy.justification, copy.end) == ("draft", asked.justification, asked.end)
    assert [(line.gpu_seconds, line.justification) for line in copy.lines.all()] == [(7200, "Why.")]


def test_a_draft_may_end_before_it_begins_until_it_is_sent(ivo: User, draft: AllocationRequest) -> None:
    today = timezone.now().date()
    autosave(ivo, draft, start=f"{today + timedelta(days=9)}", end=f"{today}")
    draft.refresh_from_db()
    assert (draft.start, draft.end) == (today + timedelta(days=9), None)
    assert draft.unfinished == {"end": f"{today}"}
