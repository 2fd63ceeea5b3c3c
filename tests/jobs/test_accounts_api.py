"""Accounts on clusters for programs: one's own, and for staff all of them, with the yes that some clusters want."""

from __future__ import annotations

from typing import Any

import pytest

from accounting.models import Cluster
from jobs.models import ClusterAccount
from portal.models import User
from tests.conftest import Bell
from tests.factories import ClusterAccountFactory
from tests.pages import browser

ALL = "/api/v1/cluster-accounts/"


@pytest.fixture
def hers(mei: User, firefly: Cluster) -> ClusterAccount:
    firefly.accounts_need_approval = True
    firefly.save()
    return ClusterAccountFactory.create(user=mei, cluster=firefly, state=ClusterAccount.State.REQUESTED)


def names(user: User) -> list[str]:
    return [one["username"] for one in browser(user).get(ALL).json()["results"]]


def test_each_sees_their_own_and_the_centre_all(
    hers: ClusterAccount, mei: User, ivo: User, sam: User
) -> None:
    assert (names(mei), names(ivo), names(sam)) == ([hers.username], [], [hers.username])
    told = browser(mei).get(f"{ALL}{hers.pk}/").json()
    assert told["state"] == "requested"
    assert "waits for the centre's approval" in told["explanation"]
    assert browser(ivo).get(f"{ALL}{hers.pk}/").status_code == 404


def test_staff_approve_it_once(
    hers: ClusterAccount, mei: User, sam: User, bell: Bell, django_capture_on_commit_callbacks: Any
) -> None:
    url = f"{ALL}{hers.pk}/approve/"
    assert browser(mei).post(url, {}, "application/json").status_code == 403
    with django_capture_on_commit_callbacks(execute=True):
        answer = browser(sam).post(url, {}, "application/json")
    assert (answer.status_code, bool(answer.json()["approved_at"])) == (200, True)
    assert bell.rang("jobs.tasks.provision") == [(hers.pk,)]
    assert browser(sam).post(url, {}, "application/json").status_code == 409
