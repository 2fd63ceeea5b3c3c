"""A decision asks once more who is there, unless somebody has just said so; then it goes on by itself."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client
from django.utils import timezone

from accounting.models import AllocationRequest, Cluster
from portal.models import Project, User
from portal.registering import confirm_only_address
from tests.factories import PASSWORD, AllocationRequestFactory
from tests.pages import browser, words

AGAIN = "/accounts/reauthenticate/"
LATER = timedelta(minutes=16)


@pytest.fixture
def asked(project: Project, firefly: Cluster, ivo: User) -> AllocationRequest:
    return AllocationRequestFactory.create(project=project, cluster=firefly, created_by=ivo, gpu_hours=4000)


def decide(client: Client, asked: AllocationRequest) -> Any:
    form = {"verdict": "approve", "gpu_hours": "4000", "comment": "Well done."}
    return client.post(f"/requests/{asked.pk}/decide/", form)


def state_of(asked: AllocationRequest) -> str:
    return AllocationRequest.objects.get(pk=asked.pk).state


def test_who_has_just_logged_in_is_not_asked(ann: User, asked: AllocationRequest) -> None:
    confirm_only_address(ann)
    client = Client()
    client.post("/accounts/login/", {"login": ann.email, "password": PASSWORD})
    assert decide(client, asked)["Location"] == "/requests/queue/"
    assert state_of(asked) == "approved"


def test_later_it_waits_for_the_password_and_then_goes_on(ann: User, asked: AllocationRequest) -> None:
    client = browser(ann)
    with time_machine.travel(timezone.now() + LATER):
        answer = decide(client, asked)
        assert answer["Location"].startswith(AGAIN)
        assert state_of(asked) == "submitted"
        page = client.get(answer["Location"])
        assert "Nothing you typed is lost" in words(page)
        done = client.post(answer["Location"], {"password": PASSWORD})
        assert done["Location"] == "/requests/queue/"
    assert state_of(asked) == "approved"
    assert asked.reviews.get().comment == "Well done."


def test_a_wrong_password_does_nothing(ann: User, asked: AllocationRequest) -> None:
    client = browser(ann)
    with time_machine.travel(timezone.now() + LATER):
        where = decide(client, asked)["Location"]
        assert "not your password" in words(client.post(where, {"password": "wrong"}))
    assert state_of(asked) == "submitted"


def test_it_can_t_be_guessed(ann: User, asked: AllocationRequest) -> None:
    client = browser(ann)
    with time_machine.travel(timezone.now() + LATER):
        where = decide(client, asked)["Location"]
        for _ in range(10):
            client.post(where, {"password": "wrong"})
        client.post(where, {"password": PASSWORD})
    assert state_of(asked) == "submitted"


def test_reading_never_asks(ann: User, asked: AllocationRequest) -> None:
    client = browser(ann)
    with time_machine.travel(timezone.now() + LATER):
        assert client.get(f"/requests/{asked.pk}/").status_code == 200
        assert client.get(f"/requests/{asked.pk}/decide/")["Location"] == f"/requests/{asked.pk}/"


def test_whoever_was_logged_in_before_can_t_be_who_confirmed(
    ann: User, sam: User, asked: AllocationRequest
) -> None:
    client = browser(sam)
    client.force_login(ann)  # the records of another person don't count
    assert decide(client, asked)["Location"].startswith(AGAIN)


def test_the_api_refuses_in_words(ann: User, asked: AllocationRequest) -> None:
    client = browser(ann)
    url, body = f"/api/v1/requests/{asked.pk}/approve/", {"gpu_seconds": 3600}
    with time_machine.travel(timezone.now() + LATER):
        answer = client.post(url, body, content_type="application/json")
        assert (answer.status_code, answer["Content-Type"]) == (403, "application/problem+json")
        assert AGAIN in answer.json()["detail"]
        client.post(AGAIN, {"password": PASSWORD})
        assert client.post(url, body, content_type="application/json").status_code == 200


def test_who_confirmed_is_not_asked_again_soon(ann: User, asked: AllocationRequest) -> None:
    client = browser(ann)
    with time_machine.travel(timezone.now() + LATER):
        client.post(AGAIN, {"password": PASSWORD})
        assert decide(client, asked)["Location"] == "/requests/queue/"
