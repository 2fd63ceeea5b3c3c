"""A request is written by those who ask. The centre reads it; staff change only what they began on a lab's behalf."""

from __future__ import annotations

import pytest

from accounting.actions import requests as actions
from accounting.models import AllocationRequest, Cluster
from portal.models import Project, User
from tests.factories import AllocationRequestFactory
from tests.pages import browser, words

State = AllocationRequest.State


@pytest.fixture
def asked(project: Project, firefly: Cluster, ivo: User) -> AllocationRequest:
    return AllocationRequestFactory.create(project=project, cluster=firefly, created_by=ivo, gpu_hours=4000)


@pytest.mark.parametrize("state", [State.SUBMITTED, State.RETURNED])
def test_who_reviews_is_offered_neither_change_nor_withdrawal(
    asked: AllocationRequest, sam: User, ann: User, state: str
) -> None:
    AllocationRequest.objects.update(state=state)
    for reader in (sam, ann):
        page = browser(reader).get(f"/requests/{asked.pk}/").content.decode()
        assert f"/requests/{asked.pk}/withdraw/" not in page
        assert f"/requests/{asked.pk}/edit/" not in page
        assert f"/requests/{asked.pk}/submit/" not in page


def test_nor_can_they(asked: AllocationRequest, sam: User) -> None:
    AllocationRequest.objects.update(state=State.RETURNED)
    for deed in ("withdraw", "submit"):
        answer = browser(sam).post(f"/requests/{asked.pk}/{deed}/")
        assert answer.status_code == 403
        assert "Only those who ask" in words(answer)
    assert browser(sam).get(f"/requests/{asked.pk}/edit/").status_code == 403
    assert AllocationRequest.objects.get().state == State.RETURNED


def test_the_lab_and_its_institution_may(asked: AllocationRequest, ivo: User, ada: User) -> None:
    for asker in (ivo, ada):
        assert (
            f"/requests/{asked.pk}/withdraw/" in browser(asker).get(f"/requests/{asked.pk}/").content.decode()
        )
    browser(ada).post(f"/requests/{asked.pk}/withdraw/")
    assert AllocationRequest.objects.get().state == State.WITHDRAWN


def test_staff_go_on_with_what_they_began_on_the_lab_s_behalf(
    project: Project, firefly: Cluster, sam: User
) -> None:
    made = actions.request_hours(by=sam, project=project, submit=False, cluster=firefly)
    assert browser(sam).get(f"/requests/{made.pk}/edit/").status_code == 200
    browser(sam).post(f"/requests/{made.pk}/withdraw/")
    assert AllocationRequest.objects.get().state == State.WITHDRAWN


def test_staff_may_ask_anew_on_its_behalf(asked: AllocationRequest, sam: User) -> None:
    AllocationRequest.objects.update(state=State.REJECTED)
    assert "Copy as new, on the lab's behalf" in words(browser(sam).get(f"/requests/{asked.pk}/"))
    browser(sam).post(f"/requests/{asked.pk}/copy/")
    assert AllocationRequest.objects.get(state=State.DRAFT).created_by == sam
