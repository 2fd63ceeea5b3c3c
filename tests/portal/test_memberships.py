"""Roles end, change and move: by whom it may be, with a word to whom it concerns, and never leaving a lab headless."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import PermissionDenied

from portal.actions import memberships as actions
from portal.models import AuditEvent, Institution, Lab, Membership, OutgoingMail, Project, Role, User
from portal.transitions import Overtaken
from tests.factories import LabFactory, MembershipFactory
from tests.pages import assert_like_nowhere, browser, words


def role_of(user: User) -> Membership:
    return user.memberships.current().get()


def mailed() -> set[str]:
    return set(OutgoingMail.objects.values_list("to", flat=True))


# ── Ending ───────────────────────────────────────────────────────────────────


def test_it_ends_and_the_row_stays(ivo: User, mei: User) -> None:
    membership = role_of(mei)
    actions.end(by=ivo, membership=membership, reason="moved on")
    membership.refresh_from_db()
    assert membership.ended_at is not None
    event = AuditEvent.objects.about(membership).get()
    assert (event.actor, event.action, event.detail["reason"]) == (ivo, "membership ended", "moved on")


def test_the_person_and_the_pi_are_told_once(sam: User, ivo: User, mei: User) -> None:
    actions.end(by=sam, membership=role_of(mei))
    assert mailed() == {mei.email, ivo.email}


def test_whoever_leaves_tells_the_pi_and_gets_no_mail(ivo: User, mei: User) -> None:
    actions.end(by=mei, membership=role_of(mei))
    assert mailed() == {ivo.email}


@pytest.mark.parametrize("name", ["mei", "ivo", "ada", "sam"])
def test_oneself_the_pi_the_institution_and_the_centre_may(name: str, request: Any, mei: User) -> None:
    actions.end(by=request.getfixturevalue(name), membership=role_of(mei))
    assert not mei.memberships.current().exists()


@pytest.mark.parametrize("name", ["otto", "vera", "ann", "fay"])
def test_nobody_else_may(name: str, request: Any, mei: User) -> None:
    with pytest.raises(PermissionDenied, match="change or end other people's roles"):
        actions.end(by=request.getfixturevalue(name), membership=role_of(mei))


def test_a_member_ends_nobody_elses(mei: User, ivo: User) -> None:
    with pytest.raises(PermissionDenied):
        actions.end(by=mei, membership=role_of(ivo))


def test_a_pi_does_not_end_the_institutions_admin(ivo: User, ada: User) -> None:
    with pytest.raises(PermissionDenied):
        actions.end(by=ivo, membership=role_of(ada))


def test_only_staff_end_the_centres_roles(ada: User, sam: User, ann: User, fay: User) -> None:
    for somebody in (ann, fay):
        with pytest.raises(PermissionDenied, match="Only the centre's staff end this role"):
            actions.end(by=ada, membership=role_of(somebody))
        actions.end(by=sam, membership=role_of(somebody))


def test_the_last_of_the_staff_stays(sam: User) -> None:
    with pytest.raises(PermissionDenied, match="at least one"):
        actions.end(by=sam, membership=role_of(sam))


def test_ending_twice_says_so(ivo: User, mei: User) -> None:
    membership = role_of(mei)
    actions.end(by=ivo, membership=membership)
    with pytest.raises(Overtaken, match="already ended"):
        actions.end(by=ivo, membership=membership)
    assert AuditEvent.objects.about(membership).count() == 1


# ── A lab keeps a PI ─────────────────────────────────────────────────────────


def test_the_last_pi_of_a_lab_with_projects_names_another(ivo: User, mei: User, project: Project) -> None:
    with pytest.raises(actions.NeedsPI, match="Name somebody"):
        actions.end(by=ivo, membership=role_of(ivo))
    actions.end(by=ivo, membership=role_of(ivo), successor=role_of(mei))
    assert role_of(mei).role == Role.PI
    assert not ivo.memberships.current().exists()


def test_the_successor_is_of_the_lab(ivo: User, otto: User, project: Project) -> None:
    with pytest.raises(actions.NeedsPI, match="a member of this lab"):
        actions.end(by=ivo, membership=role_of(ivo), successor=role_of(otto))
    assert role_of(otto).role == Role.MEMBER


def test_without_active_projects_the_last_pi_may_go(ivo: User) -> None:
    actions.end(by=ivo, membership=role_of(ivo))


def test_with_another_pi_the_first_may_go(ivo: User, optics: Lab, project: Project) -> None:
    MembershipFactory.create(lab=optics, role=Role.PI)
    actions.end(by=ivo, membership=role_of(ivo))


def test_the_last_pi_does_not_become_a_member_nor_move(
    ivo: User, sam: User, project: Project, folding: Lab
) -> None:
    with pytest.raises(actions.NeedsPI):
        actions.change_role(by=sam, membership=role_of(ivo), role=Role.MEMBER)
    with pytest.raises(actions.NeedsPI):
        actions.move(by=sam, membership=role_of(ivo), lab=folding, role=Role.PI)
    assert role_of(ivo).role == Role.PI


# ── Changing ─────────────────────────────────────────────────────────────────


def test_a_member_becomes_pi_and_what_they_were_stays_on_record(ivo: User, mei: User) -> None:
    before = role_of(mei)
    after = actions.change_role(by=ivo, membership=before, role=Role.PI)
    before.refresh_from_db()
    assert before.ended_at is not None
    assert (after.role, after.lab, role_of(mei)) == (Role.PI, before.lab, after)
    assert mailed() == {mei.email}


def test_nobody_promotes_themselves(mei: User) -> None:
    with pytest.raises(PermissionDenied):
        actions.change_role(by=mei, membership=role_of(mei), role=Role.PI)


def test_no_role_above_the_lab_is_given(ivo: User, mei: User) -> None:
    with pytest.raises(PermissionDenied, match="can't be given in a lab"):
        actions.change_role(by=ivo, membership=role_of(mei), role=Role.STAFF)
    assert role_of(mei).role == Role.MEMBER


def test_only_roles_in_a_lab_change(sam: User, ada: User) -> None:
    with pytest.raises(PermissionDenied, match="Only roles in a lab"):
        actions.change_role(by=sam, membership=role_of(ada), role=Role.PI)


# ── Moving ───────────────────────────────────────────────────────────────────


@pytest.fixture
def lasers(northlake: Institution) -> Lab:
    return LabFactory.create(institution=northlake, name="Lasers")


def test_an_admin_moves_within_the_institution(ada: User, mei: User, lasers: Lab) -> None:
    old = role_of(mei)
    actions.move(by=ada, membership=old, lab=lasers, role=Role.MEMBER)
    old.refresh_from_db()
    assert old.ended_at is not None
    assert role_of(mei).lab == lasers


def test_only_the_centre_moves_between_institutions(ada: User, sam: User, mei: User, folding: Lab) -> None:
    with pytest.raises(PermissionDenied, match="between institutions"):
        actions.move(by=ada, membership=role_of(mei), lab=folding, role=Role.MEMBER)
    actions.move(by=sam, membership=role_of(mei), lab=folding, role=Role.MEMBER)
    assert role_of(mei).lab == folding


def test_a_pi_moves_nobody(ivo: User, mei: User, lasers: Lab) -> None:
    with pytest.raises(PermissionDenied, match="institution's admins"):
        actions.move(by=ivo, membership=role_of(mei), lab=lasers, role=Role.MEMBER)


def test_nobody_moves_into_a_closed_lab(sam: User, mei: User, lasers: Lab) -> None:
    lasers.closed_at = mei.created_at
    lasers.save()
    with pytest.raises(Overtaken, match="is closed"):
        actions.move(by=sam, membership=role_of(mei), lab=lasers, role=Role.MEMBER)
    assert role_of(mei).lab != lasers


# ── Pages ────────────────────────────────────────────────────────────────────


def page(pk: int, what: str) -> str:
    return f"/memberships/{pk}/{what}/"


def test_the_page_says_beforehand_what_will_happen(ivo: User, mei: User, project: Project) -> None:
    text = words(browser(ivo).get(page(role_of(mei).pk, "end")))
    assert "waiting ones are cancelled, running ones are stopped" in text
    assert project.title in text
    assert "The GPU-hours stay with the projects" in text
    assert "New PI" not in text


def test_a_member_leaves_by_the_page(mei: User, ivo: User) -> None:
    answer = browser(mei).post(page(role_of(mei).pk, "end"), {"reason": ""}, follow=True)
    assert "You left Quantum Optics" in words(answer)
    assert not mei.memberships.current().exists()


def test_the_last_pi_is_asked_for_another_and_keeps_what_was_typed(
    ivo: User, mei: User, otto: User, project: Project
) -> None:
    client, url = browser(ivo), page(role_of(ivo).pk, "end")
    answer = client.post(url, {"reason": "a new chair"})
    assert "Name somebody of the lab who becomes its PI" in words(answer)
    assert "a new chair" in words(answer)
    assert "Otto" not in words(answer)
    client.post(url, {"successor": role_of(mei).pk})
    assert role_of(mei).role == Role.PI


@pytest.mark.parametrize("what", ["end", "role", "move"])
def test_a_stranger_finds_nothing(what: str, otto: User, mei: User) -> None:
    assert_like_nowhere(browser(otto), page(role_of(mei).pk, what))


def test_the_role_is_changed_by_the_page(ivo: User, mei: User) -> None:
    answer = browser(ivo).post(page(role_of(mei).pk, "role"), {"role": "pi"}, follow=True)
    assert "Mei Lin is PI of Quantum Optics now" in words(answer)


def test_a_role_that_is_none_is_refused_at_the_field(ivo: User, mei: User) -> None:
    answer = browser(ivo).post(page(role_of(mei).pk, "role"), {"role": "staff"})
    assert answer.status_code == 200
    assert "Select a valid choice" in words(answer)


def test_the_page_offers_the_labs_one_may_move_to(ada: User, mei: User, lasers: Lab, folding: Lab) -> None:
    client, url = browser(ada), page(role_of(mei).pk, "move")
    text = words(client.get(url))
    assert "Lasers" in text and "Protein Folding" not in text
    assert "none of that name here" in words(client.post(url, {"lab": folding.account, "role": "member"}))
    client.post(url, {"lab": lasers.account, "role": "member"})
    assert role_of(mei).lab == lasers


# ── The API ──────────────────────────────────────────────────────────────────


def test_programs_end_roles_by_the_same_rules(ivo: User, mei: User, project: Project) -> None:
    client = browser(ivo)
    url = f"/api/v1/memberships/{role_of(ivo).pk}/end/"
    refused = client.post(url, {"reason": ""}, content_type="application/json")
    assert refused.status_code == 400
    assert "Name somebody" in refused.json()["errors"]["successor"][0]
    done = client.post(url, {"successor": role_of(mei).pk}, content_type="application/json")
    assert done.status_code == 200
    assert done.json()["ended_at"]


def test_a_lab_that_one_may_not_move_to_does_not_exist(ada: User, mei: User, folding: Lab) -> None:
    url = f"/api/v1/memberships/{role_of(mei).pk}/move/"
    for lab in (folding.pk, 987_654_321):
        answer = browser(ada).post(url, {"lab": lab}, content_type="application/json")
        assert answer.json()["errors"] == {"lab": ["There is no such thing here, or it is not yours to see."]}


def test_the_list_shows_whom_one_may_see(ivo: User, mei: User, otto: User) -> None:
    told = browser(ivo).get("/api/v1/memberships/").json()
    assert {one["person"] for one in told["results"]} == {"Ivo Petrov", "Mei Lin"}
