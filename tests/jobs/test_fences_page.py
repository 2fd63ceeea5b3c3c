"""The staff's page of fences, and the same for programs: what each should be beside what the scheduler says."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.test import Client
from django.utils import timezone

from accounting.models import Allocation, Cluster, Fence
from jobs.fencing import STILL_OTHER
from jobs.models import ClusterHealth
from portal.models import User
from tests.factories import AllocationFactory
from tests.pages import browser, words

URL = "/jobs/clusters/firefly/fences/"
API = "/api/v1/clusters/firefly/fences/"
ClientFor = Callable[[User], Client]


@pytest.fixture
def fence(allocation: Allocation) -> Fence:
    now = timezone.now()
    figures = {"intended_minutes": 300_000, "seen_minutes": 299_999, "used_minutes": 1_234}
    return Fence.objects.create(
        allocation=allocation, qos="al-7", is_placed=True, seen_at=now, confirmed_at=now, **figures
    )


def keeps_budgets(cluster: Cluster, fenced: bool) -> None:
    ClusterHealth.objects.update_or_create(cluster=cluster, defaults={"fenced": fenced})


def test_both_limits_stand_side_by_side(sam: User, fence: Fence, firefly: Cluster) -> None:
    keeps_budgets(firefly, True)
    page = words(browser(sam).get(URL))
    assert all(word in page for word in ("al-7", "in step", "just now"))
    assert all(figure in page for figure in ("300 000", "299 999", "1 234"))
    assert "stopped at the same limit" in page
    assert "Squeezed light" in page


def test_trouble_comes_first_in_words(sam: User, fence: Fence, firefly: Cluster) -> None:
    keeps_budgets(firefly, True)
    other = AllocationFactory.create(cluster=firefly, project__title="Zebra fish")
    Fence.objects.create(allocation=other, qos="al-8", trouble=STILL_OTHER)
    page = words(browser(sam).get(URL))
    assert page.index("Zebra fish") < page.index("Squeezed light")
    assert "not in step" in page and STILL_OTHER in page
    assert "1 of them is not as it should be" in page
    assert "1 of them is not as it should be" in words(browser(sam).get("/jobs/clusters/"))


def test_a_fence_whose_account_was_not_made_yet_says_so(sam: User, fence: Fence) -> None:
    Fence.objects.update(is_placed=False)
    assert "waits for its account" in words(browser(sam).get(URL))


def test_where_the_site_forbids_it_the_portal_is_the_only_fence(
    sam: User, allocation: Allocation, firefly: Cluster
) -> None:
    keeps_budgets(firefly, False)
    for url in (URL, "/jobs/clusters/"):
        assert "The portal is the only fence" in words(browser(sam).get(url))


def test_before_the_first_look_it_says_so(sam: User, allocation: Allocation) -> None:
    assert "Nobody has looked yet" in words(browser(sam).get(URL))


def test_a_settled_allocation_has_no_fence(sam: User, fence: Fence) -> None:
    Allocation.objects.update(settled_at=timezone.now())
    assert "al-7" not in words(browser(sam).get(URL))


@pytest.mark.parametrize("url", [URL, API])
def test_it_is_for_the_staff(url: str, fence: Fence, mei: User, ivo: User, ann: User, otto: User) -> None:
    for somebody in (mei, ivo, ann, otto):
        assert browser(somebody).get(url).status_code == 403
    assert Client().get(url).status_code in (302, 401)


def test_a_cluster_that_is_not_there(sam: User, fence: Fence) -> None:
    assert browser(sam).get("/jobs/clusters/nowhere/fences/").status_code == 404
    assert browser(sam).get("/api/v1/clusters/nowhere/fences/").status_code == 404


def test_the_list_is_paged(sam: User, firefly: Cluster) -> None:
    for number in range(26):
        allocation = AllocationFactory.create(cluster=firefly, gpu_hours=0)
        Fence.objects.create(allocation=allocation, qos=f"al-9{number:02}")
    assert "26 fences" in words(browser(sam).get(URL))


def test_a_program_reads_the_same(sam: User, fence: Fence) -> None:
    (row,) = browser(sam).get(API).json()["results"]
    assert (row["qos"], row["project"], row["intended_minutes"], row["seen_minutes"], row["trouble"]) == (
        *("al-7", "squeezed-light", 300_000, 299_999, ""),
    )
