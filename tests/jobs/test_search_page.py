"""The search over everything finds what I may see, and nothing else."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest

from accounting.models import Partition
from portal.models import User
from tests.belongings import World
from tests.factories import JobFactory, MembershipFactory, UserFactory
from tests.pages import browser, queries_of, words


def found(who: User, q: str) -> str:
    answer = browser(who).get(f"/search/?{urlencode({'q': q})}")
    assert answer.status_code == 200
    return words(answer)


@pytest.mark.parametrize("by", ["name", "pk", "token", "scheduler_id"])
def test_a_job_is_found_by_all_that_names_it(by: str, world: World) -> None:
    job = world.optics.job
    assert "Squeezed light job" in found(world.people["mei"], str(getattr(job, by)))
    assert "Squeezed light job" not in found(world.people["otto"], str(getattr(job, by)))


@pytest.mark.parametrize(
    ("who", "q", "expected"),
    [
        ("mei", "squeezed", "Quantum Optics, Northlake University"),
        ("mei", "ivo", "ivo@example.org"),
        ("ada", "northlake", "Institutions Northlake"),
        ("ivo", "optics quantum", "Labs Quantum Optics"),
        ("sam", "hidden", "Hidden helices"),
        ("ivo", "squeezed", "Requests Squeezed light"),
    ],
)
def test_the_rest_is_found_by_name(who: str, q: str, expected: str, world: World) -> None:
    assert expected in found(world.people[who], q)


@pytest.mark.parametrize("q", ["Hidden", "Otto", "vera@", "Southfield", "Folding"])
def test_what_is_a_strangers_is_like_nothing(q: str, world: World) -> None:
    for who in ("mei", "ivo", "ada"):
        assert "Nothing is called so" in found(world.people[who], q)


def test_a_funder_finds_nobody_and_no_job(world: World) -> None:
    for q in ("Mei", "squeezed", "Optics"):
        assert "Nothing is called so" in found(world.people["fay"], q)


def test_of_many_it_shows_five_and_leads_to_all(mei: User, ivo: User, world: World, a100: Partition) -> None:
    for number in range(7):
        JobFactory.create(
            owner=mei, allocation=world.optics.allocation, partition=a100, name=f"sweep {number}"
        )
    answer = browser(mei).get("/search/?q=sweep").content.decode()
    assert 'href="/jobs/?q=sweep"' in answer
    assert "sweep 6" in answer and "sweep 1" not in answer


@pytest.mark.parametrize("q", ["", " ", "\0", "x" * 3000, "%", "９", "9" * 400, "<b>", "'"])
def test_odd_words_do_no_harm(q: str, world: World) -> None:
    found(world.people["sam"], q)


def test_it_takes_few_queries(world: World) -> None:
    client = browser(world.people["sam"])
    few = queries_of(client, "/search/?q=e")
    for _ in range(8):
        MembershipFactory.create(user=UserFactory.create(), lab=world.optics.project.lab)
    assert queries_of(client, "/search/?q=e") == few <= 15


def test_it_stands_on_every_page(world: World) -> None:
    assert (
        'data-search aria-label="Search everything"' in browser(world.people["fay"]).get("/").content.decode()
    )
