"""Asking to join: people of the institution see its open labs, the PI says yes or no."""

from __future__ import annotations

import pytest
from django.core.exceptions import PermissionDenied
from django.utils import timezone

from portal.actions import joining
from portal.models import AuditEvent, Institution, JoinRequest, Lab, Membership, Role, User
from portal.transitions import Overtaken
from tests.factories import JoinRequestFactory, LabFactory, MembershipFactory, UserFactory
from tests.pages import assert_like_nowhere, browser, queries_of, words
from tests.portal.mailbox import delivered

LABS = "/labs/join/"


@pytest.fixture
def rosa(northlake: Institution, optics: Lab, folding: Lab) -> User:
    """Of Northlake by her address, in no lab yet."""
    for institution in (northlake, folding.institution):
        institution.mail_domain = f"{institution.slug}.example"
        institution.save()
    return UserFactory.create(name="Rosa Delgado", email="rosa@cs.northlake.example")


def test_she_finds_the_labs_of_her_institution_from_home(rosa: User) -> None:
    page = browser(rosa).get("/")
    assert "You are in no lab yet" in words(page)
    assert LABS in page.content.decode()
    labs = words(browser(rosa).get(LABS))
    assert "Quantum Optics" in labs
    assert "Protein Folding" not in labs and "Southfield" not in labs


def test_strangers_see_no_names(rosa: User, otto: User) -> None:
    page = words(browser(otto).get(LABS))
    assert "No lab takes requests from your address" in page
    assert "Quantum" not in page


def test_an_institution_without_a_domain_shows_none(optics: Lab, otto: User) -> None:
    assert "No lab takes requests" in words(browser(otto).get(LABS))
    assert not Lab.objects.joinable_from({""}).exists()


def test_the_pi_gets_a_mail_and_lets_her_in(rosa: User, optics: Lab, ivo: User, mei: User) -> None:
    answer = browser(rosa).post(f"/labs/{optics.pk}/join/", {"message": "My thesis."}, follow=True)
    assert "The lab's PI has your request" in words(answer)
    assert delivered() == [("ivo@example.org", "Rosa Delgado asks to join Quantum Optics")]
    assert "Rosa Delgado asks to join Quantum Optics" in words(browser(ivo).get("/"))
    page = words(browser(ivo).get(f"/labs/{optics.pk}/"))
    assert "Rosa Delgado" in page and "My thesis." in page
    assert "Rosa" not in words(browser(mei).get(f"/labs/{optics.pk}/"))
    asked = JoinRequest.objects.get()
    answer = browser(ivo).post(f"/join-requests/{asked.pk}/accept/", follow=True)
    assert "Rosa Delgado works in Quantum Optics now" in words(answer)
    assert Membership.objects.get(user=rosa).role == Role.MEMBER
    assert delivered() == [(rosa.email, "Welcome to Quantum Optics")]
    assert {"join request sent", "membership begun"} <= {*AuditEvent.objects.values_list("action", flat=True)}


def test_a_lab_without_a_pi_is_looked_after_by_the_institution(rosa: User, optics: Lab, ada: User) -> None:
    joining.ask_to_join(by=rosa, lab=optics)
    assert [to for to, _subject in delivered()] == [ada.email]


def test_a_refusal_is_told(rosa: User, optics: Lab, ivo: User) -> None:
    asked = joining.ask_to_join(by=rosa, lab=optics)
    delivered()
    browser(ivo).post(f"/join-requests/{asked.pk}/decline/")
    assert delivered() == [(rosa.email, "Your request to join Quantum Optics")]
    assert not Membership.objects.filter(user=rosa).exists()
    joining.ask_to_join(by=rosa, lab=optics)  # she may ask again


def test_she_takes_it_back(rosa: User, optics: Lab, ivo: User) -> None:
    asked = joining.ask_to_join(by=rosa, lab=optics)
    assert_like_nowhere(browser(ivo), f"/join-requests/{asked.pk}/withdraw/x/")
    assert browser(ivo).post(f"/join-requests/{asked.pk}/withdraw/").status_code == 404
    assert "is withdrawn" in words(browser(rosa).post(f"/join-requests/{asked.pk}/withdraw/", follow=True))
    answer = browser(ivo).post(f"/join-requests/{asked.pk}/accept/", follow=True)
    assert "Somebody was faster" in words(answer)
    assert not Membership.objects.filter(user=rosa).exists()


def test_one_asks_once(rosa: User, optics: Lab) -> None:
    joining.ask_to_join(by=rosa, lab=optics)
    answer = browser(rosa).post(f"/labs/{optics.pk}/join/", {}, follow=True)
    assert "You have asked already" in words(answer)
    assert JoinRequest.objects.count() == 1


def test_who_is_there_needs_not_ask(rosa: User, optics: Lab) -> None:
    MembershipFactory.create(user=rosa, lab=optics)
    with pytest.raises(Overtaken, match="already"):
        joining.ask_to_join(by=rosa, lab=optics)


def test_nobody_asks_a_closed_lab_or_comes_into_it(rosa: User, optics: Lab, ivo: User) -> None:
    asked = joining.ask_to_join(by=rosa, lab=optics)
    Lab.objects.filter(pk=optics.pk).update(closed_at=timezone.now())
    assert browser(rosa).get(f"/labs/{optics.pk}/join/").status_code == 404
    answer = browser(ivo).post(f"/join-requests/{asked.pk}/accept/", follow=True)
    assert "Quantum Optics is closed" in words(answer)
    asked.refresh_from_db()
    assert asked.state == "waiting"  # all or nothing
    assert not Membership.objects.filter(user=rosa).exists()


def test_who_was_switched_off_does_not_come_in(rosa: User, optics: Lab, ivo: User) -> None:
    asked = joining.ask_to_join(by=rosa, lab=optics)
    User.objects.filter(pk=rosa.pk).update(is_active=False)
    browser(ivo).post(f"/join-requests/{asked.pk}/accept/")
    assert not Membership.objects.filter(user=rosa).exists()


def test_only_who_leads_the_lab_decides(rosa: User, optics: Lab, mei: User, vera: User, ann: User) -> None:
    asked = joining.ask_to_join(by=rosa, lab=optics)
    for person in (mei, vera, ann):
        assert browser(person).post(f"/join-requests/{asked.pk}/accept/").status_code == 404
    answer = browser(rosa).post(f"/join-requests/{asked.pk}/accept/")
    assert answer.status_code == 403
    assert "say who joins" in words(answer)
    with pytest.raises(PermissionDenied):
        joining.withdraw_request(by=mei, asked=asked)


def test_the_action_asks_for_the_domain_too(optics: Lab, rosa: User, otto: User) -> None:
    optics.refresh_from_db()
    with pytest.raises(PermissionDenied):
        joining.ask_to_join(by=otto, lab=Lab.objects.get(pk=optics.pk))


def test_the_lists_take_the_same_queries_whatever_the_size(rosa: User, northlake: Institution) -> None:
    client = browser(rosa)
    JoinRequestFactory.create(user=rosa, lab=LabFactory.create(institution=northlake))
    few = queries_of(client, LABS)
    for lab in LabFactory.create_batch(30, institution=northlake):
        JoinRequestFactory.create(user=rosa, lab=lab)
    assert queries_of(client, LABS) == few <= 15
