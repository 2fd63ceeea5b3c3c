"""A forgotten password is reset by a link in a mail, a known one is changed: and nobody learns who exists."""

from __future__ import annotations

import pytest
from allauth.account.models import EmailAddress
from django.core.mail import EmailMessage
from django.test import Client

from portal import mailing
from portal.models import OutgoingMail, User
from portal.registering import confirm_only_address
from tests.factories import PASSWORD
from tests.pages import browser, words
from tests.portal.test_sign_up import link_in, mailed

RESET, CHANGE = "/accounts/password/reset/", "/accounts/password/change/"
NEW = {"password1": "a wholly new horse", "password2": "a wholly new horse"}


def ask(email: str) -> str:
    return str(Client().post(RESET, {"email": email})["Location"])


def chosen(link: str, **passwords: str) -> Client:
    """A browser that opened the link and chose a password."""
    client = Client()
    client.post(client.get(link, follow=True).redirect_chain[-1][0], passwords or NEW)
    return client


def test_the_mail_s_link_sets_a_new_password(mei: User, mailoutbox: list[EmailMessage]) -> None:
    ask(mei.email)
    chosen(mailed(mailoutbox))
    assert User.objects.get(pk=mei.pk).check_password("a wholly new horse")


def test_the_link_works_once(mei: User, mailoutbox: list[EmailMessage]) -> None:
    ask(mei.email)
    link = mailed(mailoutbox)
    chosen(link)
    assert "no longer works" in words(Client().get(link))


def test_it_does_not_tell_who_exists(mei: User, mailoutbox: list[EmailMessage]) -> None:
    User.objects.create_user("gone@example.org", PASSWORD, name="Gone", is_active=False)
    emails = (mei.email, "nobody@example.org", "gone@example.org")
    assert {ask(email) for email in emails} == {"/accounts/password/reset/done/"}
    mailing.send_waiting()
    said = {mail.to[0]: link_in(mail) for mail in mailoutbox}
    assert said["nobody@example.org"] == said["gone@example.org"] == "/accounts/signup/"
    assert said[mei.email].startswith("/accounts/password/reset/key/")


def test_what_is_stored_of_the_mail_opens_nothing(mei: User, mailoutbox: list[EmailMessage]) -> None:
    ask(mei.email)
    link = mailed(mailoutbox)
    assert link.rpartition("-")[2].rstrip("/") not in str(list(OutgoingMail.objects.values()))


def test_nobody_is_flooded_with_mails(mei: User) -> None:
    for _ in range(5):
        ask(mei.email)
    assert Client().post(RESET, {"email": mei.email}).status_code == 429
    assert OutgoingMail.objects.count() == 5


def test_a_new_password_does_not_pass_by_the_second_factor(mei: User, mailoutbox: list[EmailMessage]) -> None:
    ask(mei.email)
    client = chosen(mailed(mailoutbox))
    assert client.get("/").status_code == 302


@pytest.mark.parametrize("email", ["", "mei", "a\0b@example.org", "x" * 3000])
def test_odd_addresses_are_answered_in_words(client: Client, db: None, email: str) -> None:
    assert client.post(RESET, {"email": email}).status_code == 200


def test_changing_it_logs_other_browsers_out_and_is_mailed(mei: User, mailoutbox: list[EmailMessage]) -> None:
    here, there = browser(mei), browser(mei)
    here.post(CHANGE, {"oldpassword": PASSWORD, **NEW})
    assert (here.get("/").status_code, there.get("/").status_code) == (200, 302)
    mailing.send_waiting()
    [mail] = mailoutbox
    assert mail.to == [mei.email]
    assert "the password of your account was changed" in str(mail.body)


def test_changing_it_needs_the_present_one(mei: User) -> None:
    answer = browser(mei).post(CHANGE, {"oldpassword": "wrong", **NEW})
    assert "not your present password" in words(answer)
    assert User.objects.get(pk=mei.pk).check_password(PASSWORD)


def test_the_present_one_can_t_be_guessed_there(mei: User) -> None:
    client = browser(mei)
    for _ in range(10):
        client.post(CHANGE, {"oldpassword": "wrong", **NEW})
    assert client.post(CHANGE, {"oldpassword": PASSWORD, **NEW}).status_code == 429


def test_who_has_none_sets_one(mei: User) -> None:
    mei.set_unusable_password()
    mei.save()
    client = browser(mei)
    assert client.get(CHANGE)["Location"] == "/accounts/password/set/"
    client.post("/accounts/password/set/", NEW)
    assert User.objects.get(pk=mei.pk).check_password("a wholly new horse")


def test_a_reset_never_confirms_another_address(mei: User, mailoutbox: list[EmailMessage]) -> None:
    confirm_only_address(mei)
    EmailAddress.objects.create(user=mei, email="mei@home.example")
    ask(mei.email)
    chosen(mailed(mailoutbox))
    assert not EmailAddress.objects.get(email="mei@home.example").verified
