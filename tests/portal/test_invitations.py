"""Invitations: single use, seven days, bound to the address, for at most the inviter's own role."""

from __future__ import annotations

from datetime import timedelta

import pytest
import time_machine
from allauth.account.models import EmailAddress
from django.core.exceptions import PermissionDenied
from django.test import Client
from django.utils import timezone

from portal.actions import invitations as actions
from portal.links import token_of
from portal.models import AuditEvent, Funder, Institution, Invitation, Lab, Membership, Role, User
from portal.transitions import Overtaken
from tests.factories import InvitationFactory, MembershipFactory, UserFactory
from tests.pages import assert_like_nowhere, browser, queries_of, words
from tests.portal.mailbox import delivered, link_to

NEW = "kofi@northlake.example"


@pytest.fixture
def kofi(db: None) -> User:
    return UserFactory.create(name="Kofi Mensah", email=NEW)


def invited(lab: Lab, by: User, role: str = Role.MEMBER) -> str:
    """The link in the mail."""
    actions.invite(by=by, email=NEW, role=role, place=lab)
    return link_to(NEW)


# ── Inviting ────────────────────────────────────────────────────────────────


def test_a_pi_invites_into_the_lab(optics: Lab, ivo: User) -> None:
    answer = browser(ivo).post(
        f"/labs/{optics.pk}/invite/", {"email": NEW.upper(), "role": "member"}, follow=True
    )
    assert "kofi@northlake.example is invited" in words(answer)
    assert delivered() == [(NEW, "You are invited to Quantum Optics on Firefly")]
    assert AuditEvent.objects.get(action="invitation sent").actor == ivo


def test_nobody_offers_more_than_they_have(
    optics: Lab, northlake: Institution, fund: Funder, mei: User, ivo: User, ada: User, ann: User, vera: User
) -> None:
    tries: list[tuple[User, str, actions.Place]] = [
        (mei, Role.MEMBER, optics),
        (vera, Role.MEMBER, optics),
        (ivo, Role.INSTITUTION_ADMIN, northlake),
        (ivo, Role.STAFF, None),
        (ada, Role.STAFF, None),
        (ada, Role.FUNDER, fund),
        (ann, Role.APPROVER, None),
        (ivo, Role.INSTITUTION_ADMIN, optics),
        (ivo, Role.STAFF, optics),
    ]
    for by, role, place in tries:
        with pytest.raises(PermissionDenied):
            actions.invite(by=by, email=NEW, role=role, place=place)
    assert not Invitation.objects.exists()


def test_each_offers_what_they_may(
    optics: Lab, northlake: Institution, fund: Funder, ivo: User, ada: User, sam: User
) -> None:
    tries: list[tuple[User, str, actions.Place]] = [
        (ivo, Role.PI, optics),
        (ada, Role.PI, optics),
        (ada, Role.INSTITUTION_ADMIN, northlake),
        (sam, Role.APPROVER, None),
        (sam, Role.STAFF, None),
        (sam, Role.FUNDER, fund),
    ]
    for n, (by, role, place) in enumerate(tries):
        actions.invite(by=by, email=f"new{n}@example.net", role=role, place=place)
    assert len(delivered()) == len(tries)


def test_staff_invite_a_funder_s_reader(sam: User, fund: Funder) -> None:
    page = "/invitations/new/"
    assert "Choose the funder" in words(browser(sam).post(page, {"email": NEW, "role": "funder"}))
    assert "Only the role funder" in words(
        browser(sam).post(page, {"email": NEW, "role": "staff", "funder": fund.pk})
    )
    browser(sam).post(page, {"email": NEW, "role": "funder", "funder": fund.pk})
    assert Invitation.objects.get().funder == fund


def test_who_is_there_or_invited_already_is_told(optics: Lab, ivo: User, mei: User) -> None:
    url = f"/labs/{optics.pk}/invite/"
    page = browser(ivo).post(url, {"email": "Mei@Example.org", "role": "member"})
    assert "Mei Lin is lab member of Quantum Optics already" in words(page)
    actions.invite(by=ivo, email=NEW, role=Role.MEMBER, place=optics)
    page = browser(ivo).post(url, {"email": NEW, "role": "member"})
    assert f"{NEW} is invited already" in words(page)
    assert f'value="{NEW}"' in page.content.decode()


def test_an_expired_one_does_not_stand_in_the_way(optics: Lab, ivo: User) -> None:
    actions.invite(by=ivo, email=NEW, role=Role.MEMBER, place=optics)
    with time_machine.travel(timezone.now() + timedelta(days=8), tick=False):
        actions.invite(by=ivo, email=NEW, role=Role.MEMBER, place=optics)


def test_nobody_is_invited_into_a_closed_lab(optics: Lab, ivo: User) -> None:
    Lab.objects.update(closed_at=timezone.now())
    page = browser(ivo).post(f"/labs/{optics.pk}/invite/", {"email": NEW, "role": "member"})
    assert "Quantum Optics is closed" in words(page)


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("email", "", "required"),
        ("email", "kofi", "valid email address"),
        ("email", "x" * 3000 + "@example.org", "at most 254"),
        ("role", "", "Choose a role"),
        ("role", "staff", "Choose one of the roles"),
    ],
)
def test_a_mistake_is_told_at_its_field(
    optics: Lab, ivo: User, field: str, value: str, sentence: str
) -> None:
    page = browser(ivo).post(f"/labs/{optics.pk}/invite/", {"email": NEW, "role": "member", field: value})
    assert sentence in str(page.context["form"].errors[field])


# ── The link ────────────────────────────────────────────────────────────────


def test_a_stranger_to_the_portal_is_led_to_the_log_in(optics: Lab, ivo: User, client: Client) -> None:
    link = invited(optics, ivo)
    page = client.get(link)
    assert "Ivo Petrov invites you to Quantum Optics at Northlake University, as lab member" in words(page)
    assert f"/accounts/login/?next={link}".replace(":", "%3A") in page.content.decode()
    assert client.session["invited_email"] == NEW
    assert client.post(link).status_code == 200  # accepts nothing
    assert Invitation.objects.get().accepted_at is None


def test_opening_it_accepts_nothing_and_a_post_does(optics: Lab, ivo: User, kofi: User) -> None:
    link = invited(optics, ivo)
    person = browser(kofi)
    assert "Accept the invitation" in words(person.get(link))
    assert not Membership.objects.filter(user=kofi).exists()
    answer = person.post(link, follow=True)
    assert "Welcome. You are lab member now." in words(answer)
    assert Membership.objects.get(user=kofi, ended_at=None).lab == optics
    assert Invitation.objects.get().accepted_by == kofi
    assert {"invitation accepted", "membership begun"} <= {
        *AuditEvent.objects.values_list("action", flat=True)
    }


def test_a_further_address_counts_once_it_is_confirmed(kofi: User, optics: Lab) -> None:
    invitation = InvitationFactory.create(email="kofi@elsewhere.example", lab=optics)
    further = EmailAddress.objects.create(user=kofi, email="Kofi@Elsewhere.example")
    with pytest.raises(PermissionDenied):
        actions.accept(by=kofi, invitation=invitation)
    further.set_verified()
    assert actions.accept(by=kofi, invitation=invitation).lab == optics


def test_it_is_for_its_address_only(optics: Lab, ivo: User, otto: User) -> None:
    link = invited(optics, ivo)
    for answer in (browser(otto).get(link), browser(otto).post(link)):
        assert "is for another address than otto@example.org" in words(answer)
        assert "Quantum" not in words(answer) and NEW not in words(answer)
    with pytest.raises(PermissionDenied):
        actions.accept(by=otto, invitation=Invitation.objects.get())
    assert Invitation.objects.get().accepted_at is None


def test_used_expired_revoked_and_forged_are_alike(
    optics: Lab, ivo: User, kofi: User, client: Client
) -> None:
    rows = {
        "used": InvitationFactory.create(lab=optics, accepted_at=timezone.now(), accepted_by=kofi),
        "expired": InvitationFactory.create(lab=optics, expires_at=timezone.now() - timedelta(seconds=1)),
        "revoked": InvitationFactory.create(lab=optics, revoked_at=timezone.now()),
    }
    links = [token_of("invitation", row.nonce) for row in rows.values()]
    links += [
        "nonsense",
        "abc:def",
        token_of("application", rows["used"].nonce),
        token_of("invitation", "0" * 32),
    ]
    answers = [client.get(f"/invitations/{link}/") for link in links]
    assert {answer.status_code for answer in answers} == {410}
    assert len({words(answer) for answer in answers}) == 1


def test_the_nonce_in_the_database_opens_nothing(optics: Lab, ivo: User, kofi: User) -> None:
    invited(optics, ivo)
    nonce = Invitation.objects.get().nonce
    assert browser(kofi).post(f"/invitations/{nonce}/").status_code == 410


def test_it_is_used_once(optics: Lab, ivo: User, kofi: User) -> None:
    link = invited(optics, ivo)
    stale = Invitation.objects.get()
    browser(kofi).post(link)
    assert browser(kofi).post(link).status_code == 410
    with pytest.raises(Overtaken):
        actions.accept(by=kofi, invitation=stale)
    assert Membership.objects.filter(user=kofi).count() == 1


def test_who_came_in_meanwhile_stays_as_they_are(optics: Lab, ivo: User, kofi: User) -> None:
    link = invited(optics, ivo)
    MembershipFactory.create(user=kofi, role=Role.PI, lab=optics)
    answer = browser(kofi).post(link, follow=True)
    assert "Kofi Mensah is PI of Quantum Optics already" in words(answer)
    assert [membership.role for membership in Membership.objects.filter(user=kofi)] == [Role.PI]


# ── Afterwards ──────────────────────────────────────────────────────────────


def test_sent_again_it_has_a_new_link_and_seven_new_days(optics: Lab, ivo: User, kofi: User) -> None:
    old = invited(optics, ivo)
    invitation = Invitation.objects.get()
    with time_machine.travel(timezone.now() + timedelta(days=8), tick=False):
        answer = browser(ivo).post(
            f"/invitations/{invitation.pk}/again/", {"next": f"/labs/{optics.pk}/"}, follow=True
        )
        assert answer.redirect_chain[-1][0] == f"/labs/{optics.pk}/"
        new = link_to(NEW)
        assert new != old
        assert browser(kofi).post(old).status_code == 410
        assert browser(kofi).post(new).status_code == 302


def test_a_revoked_one_opens_nothing(optics: Lab, ivo: User, kofi: User) -> None:
    link = invited(optics, ivo)
    url = f"/invitations/{Invitation.objects.get().pk}/"
    assert "is revoked" in words(browser(ivo).post(f"{url}revoke/", follow=True))
    assert browser(kofi).post(link).status_code == 410
    assert "accepted or revoked meanwhile" in words(browser(ivo).post(f"{url}again/", follow=True))


def test_afterwards_nobody_is_sent_to_another_site(optics: Lab, ivo: User) -> None:
    url = f"/invitations/{InvitationFactory.create(lab=optics).pk}/again/"
    for odd in ("https://evil.example/", "//evil.example", "/\n/evil", "javascript:alert(1)"):
        assert browser(ivo).post(url, {"next": odd})["Location"] == "/invitations/"


def test_the_list_is_of_where_one_invites(
    optics: Lab, folding: Lab, northlake: Institution, ivo: User, ada: User, sam: User, mei: User
) -> None:
    InvitationFactory.create(lab=optics, email="a@example.net")
    InvitationFactory.create(role=Role.INSTITUTION_ADMIN, institution=northlake, email="b@example.net")
    theirs = InvitationFactory.create(lab=folding, email="c@example.net")
    InvitationFactory.create(role=Role.STAFF, email="d@example.net")
    seen = {
        person.name: {
            letter
            for letter in "abcd"
            if f"{letter}@example.net" in words(browser(person).get("/invitations/"))
        }
        for person in (ivo, ada, sam)
    }
    assert seen == {"Ivo Petrov": {*"a"}, "Ada Okafor": {*"ab"}, "Sam Weber": {*"abcd"}}
    assert browser(mei).get("/invitations/").status_code == 403
    for deed in ("again", "revoke"):
        assert browser(ivo).post(f"/invitations/{theirs.pk}/{deed}/").status_code == 404


def test_a_stranger_finds_no_way_in(optics: Lab, northlake: Institution, vera: User) -> None:
    for url in (f"/labs/{optics.pk}/", f"/labs/{optics.pk}/invite/", f"/labs/{optics.pk}/invite/many/",
                "/institutions/northlake/", "/institutions/northlake/invite/"):  # fmt: skip
        assert_like_nowhere(browser(vera), url)


def test_the_list_takes_the_same_queries_whatever_the_size(sam: User, optics: Lab) -> None:
    client = browser(sam)
    InvitationFactory.create(lab=optics)
    few = queries_of(client, "/invitations/")
    InvitationFactory.create_batch(30, lab=optics)
    assert queries_of(client, "/invitations/") == few <= 15


def test_each_line_has_its_own_two_buttons(optics: Lab, ivo: User) -> None:
    keys = [InvitationFactory.create(lab=optics).pk for _ in range(2)]
    page = browser(ivo).get("/invitations/").content.decode()
    for key in keys:
        assert f'formaction="/invitations/{key}/again/"' in page
        assert f'formaction="/invitations/{key}/revoke/"' in page
