"""Staff switch a person's access off and on, and reset a lost second factor: with a reason, and never their own."""

from __future__ import annotations

from datetime import timedelta

import pytest
import time_machine
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.test import Client
from django.utils import timezone

from accounting.models import Allocation
from jobs.models import Association
from portal.actions import access, memberships
from portal.models import AuditEvent, OutgoingMail, Role, User
from portal.registering import confirm_only_address
from portal.transitions import Overtaken
from tests.belongings import second_factors
from tests.conftest import person as made
from tests.factories import PASSWORD, ClusterAccountFactory
from tests.pages import assert_like_nowhere, browser, words

LATER = timedelta(minutes=16)


def logged_in(user: User) -> Client:
    """By the page itself: the browser is noted, as it is for people."""
    confirm_only_address(user)
    client = Client()
    client.post("/accounts/login/", {"login": user.email, "password": PASSWORD})
    assert client.get("/accounts/").status_code == 200
    return client


def off(by: User, person: User, reason: str = "She left.") -> None:
    browser(by).post(f"/people/{person.pk}/switch-off/", {"reason": reason})


# ── Switching off ────────────────────────────────────────────────────────────


def test_whoever_is_switched_off_is_out_at_once_and_stays_out(sam: User, mei: User) -> None:
    hers = logged_in(mei)
    off(sam, mei)
    assert hers.get("/")["Location"].startswith("/accounts/login/")
    answer = Client().post("/accounts/login/", {"login": mei.email, "password": PASSWORD})
    assert answer.status_code == 200  # not let in
    assert not UserSession.objects.filter(user=mei).exists()


def test_an_old_browser_is_not_logged_in_again_when_access_comes_back(sam: User, mei: User) -> None:
    hers = logged_in(mei)
    off(sam, mei)
    browser(sam).post(f"/people/{mei.pk}/switch-on/")
    assert hers.get("/")["Location"].startswith("/accounts/login/")
    assert logged_in(mei).get("/").status_code == 200


def test_the_roles_stay_listed_and_the_page_says_it(sam: User, ivo: User, mei: User) -> None:
    off(sam, mei)
    page = words(browser(ivo).get(f"/people/{mei.pk}/"))
    assert "This person's access is switched off." in page
    assert "Quantum Optics" in page
    assert "Switch on the access" not in page
    assert "Switch on the access" in words(browser(sam).get(f"/people/{mei.pk}/"))


def test_their_right_to_run_ends_with_it(sam: User, mei: User, allocation: Allocation) -> None:
    account = ClusterAccountFactory.create(user=mei, cluster=allocation.cluster)
    Association.objects.get_or_create(account=account, project=allocation.project)
    assert not Association.objects.unfounded().exists()
    off(sam, mei)
    assert Association.objects.unfounded().filter(account=account).exists()


def test_they_and_their_pi_get_a_mail_with_the_reason(sam: User, ivo: User, mei: User) -> None:
    off(sam, mei, "Her phone was stolen.")
    mails = OutgoingMail.objects.filter(template="access_switched_off")
    assert {mail.to for mail in mails} == {mei.email, ivo.email}
    assert {mail.context["reason"] for mail in mails} == {"Her phone was stolen."}
    event = AuditEvent.objects.get(action="access switched off")
    assert (event.actor, event.object_id, event.detail["reason"]) == (
        sam,
        str(mei.pk),
        "Her phone was stolen.",
    )


def test_a_reason_is_needed(sam: User, mei: User) -> None:
    answer = browser(sam).post(f"/people/{mei.pk}/switch-off/", {"reason": " "})
    assert "Say why" in words(answer)
    mei.refresh_from_db()
    assert mei.is_active


def test_it_asks_again_who_is_there(sam: User, mei: User) -> None:
    client = browser(sam)
    with time_machine.travel(timezone.now() + LATER):
        answer = client.post(f"/people/{mei.pk}/switch-off/", {"reason": "She left."})
    assert answer["Location"].startswith("/accounts/reauthenticate/")
    mei.refresh_from_db()
    assert mei.is_active


def test_the_second_of_two_is_told_that_somebody_was_first(sam: User, mei: User) -> None:
    access.switch_off(by=sam, person=mei, reason="She left.")
    with pytest.raises(Overtaken):
        access.switch_off(by=sam, person=mei, reason="She left.")
    answer = browser(sam).post(f"/api/v1/people/{mei.pk}/switch-off/", {"reason": "x"}, "application/json")
    assert answer.status_code == 409


def test_nobody_switches_themselves_off(sam: User) -> None:
    assert browser(sam).get(f"/people/{sam.pk}/switch-off/").status_code == 403
    assert "Switch off" not in words(browser(sam).get(f"/people/{sam.pk}/"))


def test_two_colleagues_cannot_switch_each_other_off(sam: User) -> None:
    cleo = made("Cleo Stern", Role.STAFF)
    access.switch_off(by=sam, person=cleo, reason="Left.")
    with pytest.raises(Exception, match="Your own access was switched off"):
        access.switch_off(by=cleo, person=sam, reason="Left.")
    sam.refresh_from_db()
    assert sam.is_active


def test_who_is_switched_off_does_not_count_as_staff_that_stays(sam: User) -> None:
    cleo = made("Cleo Stern", Role.STAFF)
    access.switch_off(by=sam, person=cleo, reason="Left.")
    with pytest.raises(Exception, match="at least one person"):
        memberships.end(by=sam, membership=sam.memberships.get())


def test_only_staff_may(ivo: User, ann: User, otto: User, mei: User) -> None:
    for page in ("switch-off", "second-factor"):
        for who in (ivo, ann, mei):
            assert browser(who).get(f"/people/{mei.pk}/{page}/").status_code == 403
        assert_like_nowhere(browser(otto), f"/people/{mei.pk}/{page}/")
    assert "Switch off" not in words(browser(ivo).get(f"/people/{mei.pk}/"))


def test_staff_see_who_signed_up_and_belongs_nowhere(sam: User, ivo: User, db: None) -> None:
    stranger = User.objects.create_user("zoe@example.org", "a horse", name="Zoe Baker")
    assert "Switch off the access" in words(browser(sam).get(f"/people/{stranger.pk}/"))
    assert_like_nowhere(browser(ivo), f"/people/{stranger.pk}/")


# ── A second factor ──────────────────────────────────────────────────────────


def test_a_reset_removes_all_of_them_and_tells_the_person(sam: User, mei: User) -> None:
    second_factors(mei)
    answer = browser(sam).post(f"/people/{mei.pk}/second-factor/", {"reason": "Called back."}, follow=True)
    assert "is reset" in words(answer)
    assert not Authenticator.objects.filter(user=mei).exists()
    mail = OutgoingMail.objects.get(template="account_changed")
    assert (mail.to, mail.context["what"]) == (mei.email, "second_factor_reset")
    event = AuditEvent.objects.get(action="second factor reset")
    assert (event.actor, event.detail["reason"]) == (sam, "Called back.")


def test_a_lost_phone_is_logged_out(sam: User, mei: User) -> None:
    phone = logged_in(mei)
    second_factors(mei)
    browser(sam).post(f"/people/{mei.pk}/second-factor/", {"reason": "Called back."})
    assert phone.get("/")["Location"].startswith("/accounts/login/")


def test_it_is_offered_where_there_is_one(sam: User, mei: User) -> None:
    assert "Reset the second factor" not in words(browser(sam).get(f"/people/{mei.pk}/"))
    second_factors(mei)
    assert "Reset the second factor" in words(browser(sam).get(f"/people/{mei.pk}/"))


def test_nobody_resets_their_own(sam: User) -> None:
    second_factors(sam)
    assert browser(sam).post(f"/people/{sam.pk}/second-factor/", {"reason": "x"}).status_code == 403
    assert Authenticator.objects.filter(user=sam).exists()


def test_programs_confirm_first_too(sam: User, mei: User) -> None:
    second_factors(mei)
    client, url = browser(sam), f"/api/v1/people/{mei.pk}/reset-second-factor/"
    with time_machine.travel(timezone.now() + LATER):
        late = client.post(url, {"reason": "Called back."}, "application/json")
    assert late.status_code == 403
    done = client.post(url, {"reason": "Called back."}, "application/json")
    assert (done.status_code, done.json()["email"]) == (200, mei.email)
    assert client.post(url, {"reason": "Called back."}, "application/json").status_code == 409
