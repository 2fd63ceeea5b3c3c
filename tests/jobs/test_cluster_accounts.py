"""How far an account is, in words: for the person, and for the staff who may have to say yes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounting.models import Cluster
from jobs.account_words import in_words
from jobs.models import ClusterAccount
from jobs.sweep import overdue
from portal.models import AuditEvent, User
from tests.conftest import Bell
from tests.factories import ClusterAccountFactory
from tests.pages import browser, words

State = ClusterAccount.State


@pytest.fixture
def account(mei: User, firefly: Cluster) -> ClusterAccount:
    return ClusterAccountFactory.create(user=mei, cluster=firefly, state=State.REQUESTED)


def said(account: ClusterAccount, **fields: Any) -> str:
    ClusterAccount.objects.filter(pk=account.pk).update(**fields)
    return in_words(ClusterAccount.objects.select_related("cluster").get(pk=account.pk)).sentence


def test_each_step_has_its_sentence(account: ClusterAccount) -> None:
    now = timezone.now()
    assert "is being made, usually minutes" in said(account)
    assert "takes longer than usual" in said(account, requested_at=now - timedelta(hours=2))
    assert "being entered with the scheduler" in said(account, found_at=now)
    assert "is ready" in said(account, state=State.ACTIVE)
    assert "brings it back under the same name" in said(account, state=State.DISABLED)


def test_home_says_what_is_awaited_and_since_when(account: ClusterAccount, mei: User) -> None:
    page = words(browser(mei).get("/"))
    assert "The account on Firefly is being made, usually minutes" in page
    assert "ago" in page or "just now" in page
    ClusterAccount.objects.update(message="no free uid")
    assert "The cluster says: no free uid" in words(browser(mei).get("/"))
    ClusterAccount.objects.update(state=State.ACTIVE)
    assert "Your account on the cluster" not in words(browser(mei).get("/"))


def test_the_submit_page_says_it_too(account: ClusterAccount, mei: User, allocation: Any) -> None:
    assert "is being made, usually minutes" in words(browser(mei).get("/jobs/new/"))


# ── Approval ─────────────────────────────────────────────────────────────────


@pytest.fixture
def asked_for(account: ClusterAccount, firefly: Cluster) -> ClusterAccount:
    Cluster.objects.filter(pk=firefly.pk).update(accounts_need_approval=True)
    return ClusterAccount.objects.select_related("cluster").get(pk=account.pk)


def test_where_the_centre_wants_to_be_asked_nothing_is_made_before(
    asked_for: ClusterAccount, mei: User, sam: User, bell: Bell, django_capture_on_commit_callbacks: Any
) -> None:
    assert ("provision", asked_for.pk) not in list(overdue())
    assert "waits for the centre's approval" in words(browser(mei).get("/"))
    assert "Approve" in words(browser(sam).get("/jobs/clusters/"))
    with django_capture_on_commit_callbacks(execute=True):
        answer = browser(sam).post(f"/jobs/accounts/{asked_for.pk}/approve/", follow=True)
    assert "fp-mei is asked for now" in words(answer)
    assert bell.rang("jobs.tasks.provision") == [(asked_for.pk,)]
    assert ("provision", asked_for.pk) in list(overdue())
    assert AuditEvent.objects.about(asked_for).get().actor == sam
    assert "usually minutes" in words(browser(mei).get("/"))


def test_approving_twice_says_so(asked_for: ClusterAccount, sam: User) -> None:
    url = f"/jobs/accounts/{asked_for.pk}/approve/"
    browser(sam).post(url)
    assert "approved already" in words(browser(sam).post(url, follow=True))


def test_only_staff_approve(asked_for: ClusterAccount, ivo: User, ann: User) -> None:
    for somebody in (ivo, ann):
        answer = browser(somebody).post(f"/jobs/accounts/{asked_for.pk}/approve/")
        assert answer.status_code == 403
        assert "Only the centre's staff approve cluster accounts" in words(answer)


def test_staff_see_the_oldest_first_and_who_is_being_taken_away(
    account: ClusterAccount, sam: User, otto: User
) -> None:
    ClusterAccountFactory.create(user=otto, cluster=account.cluster, state=State.DISABLED, message="no hook")
    page = words(browser(sam).get("/jobs/clusters/"))
    assert "fp-mei" in page and "being made" in page
    assert "Being taken away" in page and "no hook" in page
