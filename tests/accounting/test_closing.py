"""A project or a lab closes with all that hangs on it, and says beforehand what that is."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import PermissionDenied

from accounting.actions import closing as actions
from accounting.models import Allocation, AllocationRequest
from portal.models import (
    AuditEvent,
    Invitation,
    JoinRequest,
    Lab,
    Membership,
    OutgoingMail,
    Project,
    Role,
    User,
)
from portal.transitions import Overtaken
from tests.factories import AllocationRequestFactory, ProjectFactory
from tests.pages import assert_like_nowhere, browser, words

State = AllocationRequest.State


@pytest.mark.parametrize("state", [State.DRAFT, State.SUBMITTED, State.RETURNED, State.ENDORSED])
def test_open_requests_are_withdrawn(state: str, ivo: User, project: Project, allocation: Allocation) -> None:
    asked = AllocationRequestFactory.create(
        project=project, cluster=allocation.cluster, state=state, created_by=ivo
    )
    actions.close_project(by=ivo, project=project, reason="done")
    project.refresh_from_db()
    asked.refresh_from_db()
    assert (project.state, asked.state) == (Project.State.CLOSED, State.WITHDRAWN)
    assert AuditEvent.objects.about(project).get().detail["note"] == "done"
    assert AuditEvent.objects.about(asked).get().actor == ivo


def test_what_was_decided_stays(ivo: User, project: Project, allocation: Allocation) -> None:
    actions.close_project(by=ivo, project=project, reason="done")
    assert set(project.requests.values_list("state", flat=True)) == {State.APPROVED}


def test_everybody_of_the_lab_hears_of_it(
    ivo: User, mei: User, ada: User, otto: User, project: Project
) -> None:
    actions.close_project(by=ivo, project=project, reason="done")
    assert set(OutgoingMail.objects.values_list("to", flat=True)) == {mei.email, ada.email}


def test_a_member_or_a_stranger_does_not_close(mei: User, vera: User, ann: User, project: Project) -> None:
    for somebody in (mei, vera, ann):
        with pytest.raises(PermissionDenied, match="close a project"):
            actions.close_project(by=somebody, project=project, reason="x")


def test_the_second_to_close_hears_that_it_is(ivo: User, project: Project) -> None:
    same = Project.objects.get(pk=project.pk)
    actions.close_project(by=ivo, project=project, reason="x")
    with pytest.raises(Overtaken, match="already closed"):
        actions.close_project(by=ivo, project=same, reason="x")


def test_only_staff_open_it_again(ivo: User, sam: User, project: Project) -> None:
    with pytest.raises(Overtaken):
        actions.reopen_project(by=sam, project=project, reason="x")
    actions.close_project(by=ivo, project=project, reason="x")
    with pytest.raises(PermissionDenied, match="Only the centre's staff reopen"):
        actions.reopen_project(by=ivo, project=project, reason="x")
    actions.reopen_project(by=sam, project=project, reason="more to do")
    assert project.state == Project.State.ACTIVE


# ── Labs ─────────────────────────────────────────────────────────────────────


def test_nothing_dangles_when_a_lab_closes(
    ada: User, ivo: User, mei: User, otto: User, optics: Lab, project: Project, allocation: Allocation
) -> None:
    asked = AllocationRequestFactory.create(project=project, cluster=allocation.cluster, created_by=ivo)
    proposed = ProjectFactory.create(lab=optics, state=Project.State.PROPOSED)
    invited = Invitation.objects.create(email="new@example.org", role=Role.MEMBER, lab=optics, invited_by=ivo)
    wish = JoinRequest.objects.create(user=otto, lab=optics)

    actions.close_lab(by=ada, lab=optics, reason="dissolved")

    for thing in (optics, project, proposed, asked, invited, wish):
        thing.refresh_from_db()
    assert optics.closed_at is not None
    assert (project.state, proposed.state) == (Project.State.CLOSED, Project.State.DECLINED)
    assert asked.state == State.WITHDRAWN
    assert not Membership.objects.current().filter(lab=optics).exists()
    assert invited.revoked_at is not None
    assert wish.state == JoinRequest.State.DECLINED
    assert set(OutgoingMail.objects.values_list("to", flat=True)) == {ivo.email, mei.email}


def test_a_closed_lab_is_not_closed_again(sam: User, optics: Lab) -> None:
    actions.close_lab(by=sam, lab=optics, reason="x")
    with pytest.raises(Overtaken, match="already closed"):
        actions.close_lab(by=sam, lab=optics, reason="x")


def test_a_project_of_a_closed_lab_stays_closed(sam: User, optics: Lab, project: Project) -> None:
    actions.close_lab(by=sam, lab=optics, reason="x")
    project.refresh_from_db()
    with pytest.raises(PermissionDenied, match="lab is closed"):
        actions.reopen_project(by=sam, project=project, reason="x")


def test_a_pi_does_not_close_the_lab(ivo: User, optics: Lab) -> None:
    with pytest.raises(PermissionDenied, match="close a lab"):
        actions.close_lab(by=ivo, lab=optics, reason="x")


# ── Pages ────────────────────────────────────────────────────────────────────


def test_the_page_says_what_is_lost(ivo: User, project: Project, allocation: Allocation) -> None:
    url = f"/projects/{project.slug}/close/"
    client = browser(ivo)
    assert "are not used yet. Nobody can use them once it is closed" in words(client.get(url))
    assert "This field is required" in words(client.post(url, {"reason": ""}))
    answer = client.post(url, {"reason": "done"}, follow=True)
    assert "is closed. Its record stays readable" in words(answer)


def test_staff_open_it_again_on_the_same_page(sam: User, ivo: User, project: Project) -> None:
    actions.close_project(by=ivo, project=project, reason="x")
    url = f"/projects/{project.slug}/close/"
    assert "Reopen the project" in words(browser(sam).get(url))
    assert "there is nothing to close" in words(browser(ivo).get(url))
    assert "is active again" in words(browser(sam).post(url, {"reason": "more"}, follow=True))


def test_the_labs_page_counts_what_goes_along(ada: User, ivo: User, mei: User, project: Project) -> None:
    text = words(browser(ada).get(f"/labs/{project.lab_id}/close/"))
    assert "2 people belong to it" in text
    assert project.title in text
    answer = browser(ada).post(f"/labs/{project.lab_id}/close/", {"reason": "dissolved"}, follow=True)
    assert "Quantum Optics is closed" in words(answer)


@pytest.mark.parametrize("address", ["/projects/squeezed-light/close/", "/labs/{lab}/close/"])
def test_a_stranger_finds_nothing(address: str, vera: User, project: Project) -> None:
    assert_like_nowhere(browser(vera), address.format(lab=project.lab_id))


def test_programs_close_and_open_by_the_same_rules(ivo: User, sam: User, project: Project) -> None:
    def ask(who: User, what: str, body: dict[str, Any]) -> Any:
        url = f"/api/v1/projects/{project.slug}/{what}/"
        return browser(who).post(url, body, content_type="application/json")

    assert "reason" in ask(ivo, "close", {}).json()["errors"]
    assert ask(ivo, "close", {"reason": "done"}).json()["state"] == "closed"
    assert ask(ivo, "close", {"reason": "done"}).status_code == 409
    assert ask(sam, "reopen", {"reason": "more"}).json()["state"] == "active"
