"""A lab or a project is chosen from a list where there are few, and typed where there are many."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from accounting.models import Allocation
from portal.forms.selects import MOST_LISTED
from portal.models import Institution, Lab, Project, User
from tests.factories import LabFactory, ProjectFactory
from tests.pages import browser, words

JOBS = "/jobs/"
LABS, PROJECTS = "/labs/names/", "/projects/names/"


@pytest.fixture
def many(optics: Lab) -> list[Any]:
    """More projects than a list shows."""
    return [
        ProjectFactory.create(lab=optics, title=f"Light {n}", slug=f"light-{n}", account=f"light-{n}")
        for n in range(MOST_LISTED)
    ]


def test_few_are_a_list(ivo: User, project: Project) -> None:
    page = browser(ivo).get(JOBS).content.decode()
    assert f'<option value="{project.slug}">{project.title}</option>' in page
    assert "<datalist" not in page


def test_many_are_typed_and_the_page_carries_none_of_them(
    ivo: User, project: Project, many: list[Project]
) -> None:
    page = browser(ivo).get(JOBS, {"project": "light-7"}).content.decode()
    assert 'list="names-for-project"' in page and 'value="light-7"' in page
    assert "Light 8" not in page


def test_what_is_typed_finds_the_row(ivo: User, project: Project, many: list[Project]) -> None:
    form = browser(ivo).get(JOBS, {"project": project.slug}).context["form"]
    assert form.cleaned_data["project"] == project
    wrong = browser(ivo).get(JOBS, {"project": "Light"})
    assert "There is none of that name here" in words(wrong)


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("", {"squeezed-light"}), ("SQUEEZ", {"squeezed-light"}), ("light squeezed", {"squeezed-light"}), ("x", set()), ("\0", {"squeezed-light"})],
)  # fmt: skip
def test_words_of_a_projects_name_are_completed(
    ivo: User, project: Project, typed: str, offered: set[str]
) -> None:
    answer = browser(ivo).get(PROJECTS, {"project": typed})
    assert {pair[0] for pair in answer.context["options"]} == offered


def test_a_lab_is_found_by_its_institution_too(sam: User, optics: Lab, folding: Lab) -> None:
    answer = browser(sam).get(LABS, {"lab": "northlake"})
    assert answer.context["options"] == [(optics.account, "Quantum Optics, Northlake University")]


def test_a_closed_lab_is_not_offered(sam: User, northlake: Institution, client: Client) -> None:
    LabFactory.create(institution=northlake, name="Gone", closed_at="2026-01-01T00:00Z")
    assert browser(sam).get(LABS, {"lab": "gone"}).context["options"] == []


def test_nobody_is_offered_what_is_anothers(otto: User, allocation: Allocation) -> None:
    client = browser(otto)
    assert client.get(PROJECTS, {"project": "squeezed"}).context["options"] == []
    assert client.get(LABS, {"lab": "quantum"}).context["options"] == []
