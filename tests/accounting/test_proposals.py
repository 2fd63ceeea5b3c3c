"""Projects are proposed: their first request brings them to life, or ends them."""

from __future__ import annotations

import pytest
from django.core.exceptions import PermissionDenied
from django.utils import timezone

from accounting.actions import reviews
from accounting.actions.proposals import propose_project
from accounting.actions.requests import request_hours, withdraw_request
from accounting.models import AllocationRequest, Cluster
from portal.models import Funder, Institution, Lab, Project, User
from portal.models.people import account_name
from tests.factories import LabFactory
from tests.pages import browser, words

NEW = "/projects/new/"


def typed(lab: Lab, **other: str) -> dict[str, str]:
    return {
        "lab": lab.account, "title": "Slow light in crystals", "abstract": "How slow can it be?",
        "field_of_science": "1.3", "funder": "", "grant_number": "G 7",
    } | other  # fmt: skip


@pytest.fixture
def proposed(ivo: User, optics: Lab) -> Project:
    return propose_project(
        by=ivo, lab=optics, title="Slow light", abstract="How slow?", field_of_science="1.3"
    )


def asked(by: User, project: Project, cluster: Cluster) -> AllocationRequest:
    today = timezone.now().date()
    return request_hours(
        by=by, project=project, cluster=cluster, gpu_seconds=3600, start=today, end=today, justification="So."
    )


@pytest.mark.parametrize("who", ["ivo", "ada", "sam"])
def test_a_project_is_proposed_and_its_hours_are_asked_next(
    who: str, request: pytest.FixtureRequest, optics: Lab, firefly: Cluster, fund: Funder
) -> None:
    user: User = request.getfixturevalue(who)
    answer = browser(user).post(NEW, typed(optics, funder=str(fund.pk)), follow=True)
    project = Project.objects.get()
    assert (project.state, project.slug, project.field_of_science) == (
        "proposed",
        "slow-light-in-crystals",
        "1.3",
    )
    assert project.account == f"{optics.account}-slow-light-in-crystals"
    assert answer.redirect_chain[-1][0] == "/projects/slow-light-in-crystals/request/"
    assert "Ask for GPU-hours" in words(answer)


def test_who_cannot_ask_cannot_propose(mei: User, fay: User, ann: User, vera: User, optics: Lab) -> None:
    for person in (mei, fay, ann):
        assert "Only the lab's PI can ask" in words(browser(person).get(NEW))
    page = words(browser(vera).post(NEW, typed(optics)))
    assert "none of that name here" in page and "Quantum" not in page
    with pytest.raises(PermissionDenied):
        propose_project(by=vera, lab=optics, title="Mine", abstract="Now.")


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("title", "", "Give the project a title"),
        ("title", "x" * 201, "at most 200"),
        ("abstract", "", "Say what the project is about"),
        ("field_of_science", "9.9", "Choose the closest field"),
        ("lab", "9" * 40, "none of that name here"),
        ("funder", "abc", "Choose one of the funders"),
    ],
)
def test_a_wrong_field_says_why(ivo: User, optics: Lab, field: str, value: str, sentence: str) -> None:
    answer = browser(ivo).post(NEW, typed(optics) | {field: value})
    assert answer.status_code == 200 and sentence in words(answer)
    assert not Project.objects.exists()


def test_names_are_free_and_safe_for_the_scheduler(ivo: User, northlake: Institution) -> None:
    lab = LabFactory.create(institution=northlake, name="Long", slug="long", account="l" * 63)
    LabFactory.create(institution=northlake, name="Twin", slug="twin", account="l" * 40 + "-new")
    ada = User.objects.get(pk=ivo.pk)
    ada.memberships.create(role="pi", lab=lab)
    ada = User.objects.get(pk=ivo.pk)
    titles = ["Slow light", "Slow light", "慢光", "慢光", "New", "x" * 200, "x" * 200, "Ünïcode & <b>", "1"]
    made = [propose_project(by=ada, lab=lab, title=title, abstract="So.") for title in titles]
    for project in made:
        account_name(project.account)
        project.full_clean()
    assert len({project.slug for project in made}) == len({project.account for project in made}) == len(made)
    assert "new" not in {project.slug for project in made}


def test_nothing_begins_in_a_closed_lab(ivo: User, optics: Lab) -> None:
    Lab.objects.update(closed_at=timezone.now())
    optics.refresh_from_db()
    with pytest.raises(PermissionDenied, match="closed"):
        propose_project(by=ivo, lab=optics, title="Late", abstract="So.")
    assert "There is no lab yet" in words(browser(ivo).get(NEW))


def test_the_approval_of_its_first_request_brings_it_to_life(
    ivo: User, sam: User, proposed: Project, firefly: Cluster
) -> None:
    reviews.approve_request(by=sam, request=asked(ivo, proposed, firefly), gpu_seconds=3600)
    proposed.refresh_from_db()
    assert proposed.state == "active"


def test_the_rejection_of_its_only_request_declines_it(
    ivo: User, sam: User, proposed: Project, firefly: Cluster
) -> None:
    withdraw_request(by=ivo, request=asked(ivo, proposed, firefly))
    reviews.reject_request(by=sam, request=asked(ivo, proposed, firefly), comment="No.")
    proposed.refresh_from_db()
    assert proposed.state == "declined"
    with pytest.raises(PermissionDenied, match="declined"):
        asked(ivo, proposed, firefly)


def test_another_request_keeps_the_proposal_alive(
    ivo: User, sam: User, proposed: Project, firefly: Cluster
) -> None:
    other = asked(ivo, proposed, firefly)
    reviews.reject_request(by=sam, request=asked(ivo, proposed, firefly), comment="No.")
    proposed.refresh_from_db()
    assert proposed.state == "proposed"
    reviews.reject_request(by=sam, request=AllocationRequest.objects.get(pk=other.pk), comment="No.")
    proposed.refresh_from_db()
    assert proposed.state == "declined"
