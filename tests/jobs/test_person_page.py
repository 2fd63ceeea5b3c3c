"""A person's page: roles now and before, accounts in words, jobs; within sight, and no further."""

from __future__ import annotations

import pytest
from django.utils import timezone

from accounting.models import Allocation, Partition
from jobs.models import ClusterAccount
from portal.actions import memberships
from portal.models import User
from tests.factories import ClusterAccountFactory, JobFactory, MembershipFactory
from tests.pages import assert_like_nowhere, browser, queries_of, words


def url(user: User) -> str:
    return f"/people/{user.pk}/"


def test_it_tells_roles_accounts_and_jobs(
    ivo: User, mei: User, allocation: Allocation, a100: Partition
) -> None:
    ClusterAccountFactory.create(user=mei, cluster=allocation.cluster, state=ClusterAccount.State.REQUESTED)
    JobFactory.create(owner=mei, allocation=allocation, partition=a100)
    page = words(browser(ivo).get(url(mei)))
    assert "lab member, Quantum Optics" in page
    assert "is being made, usually minutes" in page and "fp-mei" in page
    assert "1 waiting or running" in page
    assert "Change role" in page and "End" in page and "Move" not in page


def test_oneself_is_offered_to_leave(mei: User) -> None:
    page = words(browser(mei).get(url(mei)))
    assert "Leave" in page and "Change role" not in page


def test_what_was_stays_readable_for_the_lab(ivo: User, mei: User) -> None:
    memberships.end(by=ivo, membership=mei.memberships.get())
    page = words(browser(ivo).get(url(mei)))
    assert "Has no role here any more" in page
    assert "Before" in page


@pytest.mark.parametrize("name", ["otto", "vera", "fay"])
def test_a_stranger_finds_nobody(name: str, mei: User, request: pytest.FixtureRequest) -> None:
    assert_like_nowhere(browser(request.getfixturevalue(name)), url(mei))


def test_a_funder_sees_themselves(fay: User) -> None:
    assert "funder" in words(browser(fay).get(url(fay)))


def test_roles_elsewhere_are_not_told(ivo: User, mei: User, vera: User) -> None:
    MembershipFactory.create(user=mei, lab=vera.memberships.get().lab)
    assert "Protein Folding" not in words(browser(ivo).get(url(mei)))


def test_a_long_past_takes_no_more_queries(sam: User, mei: User) -> None:
    few = queries_of(browser(sam), url(mei))
    for _ in range(30):
        MembershipFactory.create(user=mei, lab=mei.memberships.all()[0].lab, ended_at=timezone.now())
    assert queries_of(browser(sam), url(mei)) <= few + 1
