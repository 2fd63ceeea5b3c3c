"""The list of jobs: what one may see, narrowed, sorted and paged by the address."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from accounting.models import Allocation, Partition
from jobs.models import Job
from jobs.states import State
from portal.models import Project, User
from tests.factories import AllocationFactory, JobFactory, ProjectFactory, UserFactory

URL = "/jobs/"
ClientFor = Callable[[User], Client]


@pytest.fixture
def jobs(mei: User, ivo: User, allocation: Allocation, a100: Partition) -> list[Job]:
    def make(owner: User, name: str, state: State, gpus: int) -> Job:
        number = "" if state == State.NEW else "77"
        return JobFactory.create(
            owner=owner,
            allocation=allocation,
            partition=a100,
            name=name,
            state=state,
            gpus=gpus,
            scheduler_id=number,
        )

    return [
        make(mei, "Alpha sweep", State.SUCCEEDED, 2),
        make(mei, "Beta sweep", State.RUNNING, 16),
        make(ivo, "Gamma", State.FAILED, 8),
        make(ivo, "Delta", State.NEW, 1),
    ]


def names(client: Client, query: str = "") -> list[str]:
    response = client.get(URL + query)
    assert response.status_code == 200
    return [job.name for job in response.context["page"]]


def test_a_member_sees_the_labs_jobs_newest_first(mei: User, jobs: list[Job], client_for: ClientFor) -> None:
    assert names(client_for(mei)) == ["Delta", "Gamma", "Beta sweep", "Alpha sweep"]


@pytest.mark.parametrize("who", ["ivo", "ada", "sam", "ann"])
def test_who_may_see_them_does(
    who: str, jobs: list[Job], request: pytest.FixtureRequest, client_for: ClientFor
) -> None:
    assert len(names(client_for(request.getfixturevalue(who)))) == 4


@pytest.mark.parametrize("who", ["otto", "vera", "fay"])
def test_a_stranger_sees_none_and_no_counts(
    who: str, jobs: list[Job], request: pytest.FixtureRequest, client_for: ClientFor
) -> None:
    response = client_for(request.getfixturevalue(who)).get(URL)
    assert list(response.context["page"]) == []
    assert sum(count or 0 for _state, count in response.context["states"]) == 0
    assert "Squeezed light" not in response.content.decode()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?q=sweep", ["Beta sweep", "Alpha sweep"]),
        ("?q=77", ["Gamma", "Beta sweep", "Alpha sweep"]),
        ("?state=failed", ["Gamma"]),
        ("?state=failed&state=new", ["Delta", "Gamma"]),
        ("?whose=mine", ["Beta sweep", "Alpha sweep"]),
        ("?project=squeezed-light&whose=mine&state=running", ["Beta sweep"]),
        ("?sort=name", ["Alpha sweep", "Beta sweep", "Delta", "Gamma"]),
        ("?sort=-gpus", ["Beta sweep", "Gamma", "Alpha sweep", "Delta"]),
        ("?sort=submitted", ["Alpha sweep", "Beta sweep", "Gamma", "Delta"]),
        ("?sort=-submitted", ["Delta", "Gamma", "Beta sweep", "Alpha sweep"]),
    ],
)
def test_it_is_narrowed_and_sorted(
    mei: User, jobs: list[Job], client_for: ClientFor, query: str, expected: list[str]
) -> None:
    assert names(client_for(mei), query) == expected


@pytest.mark.parametrize(
    "query",
    [
        "?sort=password", "?sort=owner__password", "?sort=--name", "?sort=-", "?page=-1", "?page=abc", "?page=" + "9" * 30,
        "?state=gone", "?project=nowhere", "?whose=everybody", "?q=" + "x" * 3000, "?q=%00", "?q=%25%5C_'%22",
        "?unknown=1",
    ],
)  # fmt: skip
def test_what_means_nothing_does_no_harm(
    mei: User, jobs: list[Job], client_for: ClientFor, query: str
) -> None:
    assert client_for(mei).get(URL + query).status_code == 200


def test_another_labs_project_can_not_be_asked_for(
    mei: User, jobs: list[Job], folding: Any, client_for: ClientFor
) -> None:
    other = ProjectFactory.create(lab=folding, slug="secret-project")
    response = client_for(mei).get(f"{URL}?project={other.slug}")
    assert response.context["form"].errors["project"]
    assert other.title not in response.content.decode()


def test_it_has_pages_that_keep_the_filters(
    mei: User, allocation: Allocation, a100: Partition, client_for: ClientFor
) -> None:
    for number in range(30):
        JobFactory.create(owner=mei, allocation=allocation, partition=a100, name=f"sweep {number}")
    client = client_for(mei)
    first = client.get(f"{URL}?q=sweep&sort=name")
    assert len(first.context["page"]) == 20
    assert "q=sweep&amp;sort=name&amp;page=2" in first.content.decode()
    assert len(client.get(f"{URL}?q=sweep&sort=name&page=2").context["page"]) == 10


def test_the_number_of_queries_is_constant(
    mei: User, project: Project, a100: Partition, client_for: ClientFor, django_assert_max_num_queries: Any
) -> None:
    for _number in range(12):
        own = AllocationFactory.create(project=project, cluster=a100.cluster)
        JobFactory.create(allocation=own, partition=a100)
    client = client_for(mei)
    with django_assert_max_num_queries(12):
        assert len(names(client)) == 12


def test_without_jobs_it_says_what_to_do_first(mei: User, client_for: ClientFor) -> None:
    shown = client_for(mei).get(URL).content.decode()
    assert "No jobs yet" in shown
    assert "Submit the first job" in shown


def test_a_filter_that_fits_nothing_says_so(mei: User, jobs: list[Job], client_for: ClientFor) -> None:
    assert "No job fits" in client_for(mei).get(f"{URL}?q=nothing").content.decode()


def test_a_sweep_says_how_many_times_it_runs(mei: User, jobs: list[Job], client_for: ClientFor) -> None:
    client = client_for(mei)
    assert "× 10<" not in client.get(URL).content.decode()
    Job.objects.filter(name="Gamma").update(tasks=10)
    assert client.get(URL).content.decode().count("× 10<") == 1


def test_what_an_admin_ran_elsewhere_stays_theirs(ada: User, mei: User, allocation: Allocation) -> None:
    """Who never submitted is asked for without an OR; who did, with it."""
    there = JobFactory.create(owner=mei, allocation=allocation)
    elsewhere = AllocationFactory.create()
    JobFactory.create(allocation=elsewhere)
    assert {*Job.objects.visible_to(ada)} == {there}
    own = JobFactory.create(owner=ada, allocation=elsewhere)
    assert {*Job.objects.visible_to(ada)} == {there, own}


def test_who_sees_no_project_sees_their_own_jobs(allocation: Allocation) -> None:
    kofi = UserFactory.create()
    assert not Job.objects.visible_to(kofi).exists()
    own = JobFactory.create(owner=kofi, allocation=allocation)
    JobFactory.create(allocation=allocation)
    assert [*Job.objects.visible_to(kofi)] == [own]
