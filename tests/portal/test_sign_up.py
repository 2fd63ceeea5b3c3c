"""Anybody may make an account; who proves the address gets in, and nobody learns which addresses are known."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest
from allauth.account.models import EmailAddress
from django.contrib.auth.hashers import make_password
from django.core.exceptions import ValidationError
from django.core.mail import EmailMessage
from django.test import Client
from django.utils import translation

from portal import mailing
from portal.accounts.forms import SignUpForm
from portal.models import AuditEvent, OutgoingMail, User
from portal.registering import newcomer
from tests.factories import PASSWORD
from tests.pages import browser, words

pytestmark = pytest.mark.django_db

URL = "/accounts/signup/"
ZOE = {"name": "Zoe Baker", "email": "Zoe@Example.org", "password1": PASSWORD}


def link_in(mail: EmailMessage) -> str:
    [link] = re.findall(r"http\S+", str(mail.body))
    return str(urlsplit(link).path)


def mailed(mailoutbox: list[EmailMessage]) -> str:
    """Send what waits; the address that the newest mail leads to."""
    mailing.send_waiting()
    return link_in(mailoutbox[-1])


def test_a_stranger_confirms_the_address_and_is_in(client: Client, mailoutbox: list[EmailMessage]) -> None:
    assert client.post(URL, ZOE)["Location"] == "/accounts/confirm-email/"
    assert client.get("/").status_code == 302  # not yet
    link = mailed(mailoutbox)
    assert "Zoe Baker" in words(client.get(link))
    assert client.post(link)["Location"] == "/"
    assert client.get("/").status_code == 200
    zoe = User.objects.get(email="zoe@example.org")
    assert (zoe.name, zoe.roles) == ("Zoe Baker", frozenset())


def test_reading_the_link_confirms_nothing(client: Client, mailoutbox: list[EmailMessage]) -> None:
    """Programs that look through mails open links."""
    client.post(URL, ZOE)
    Client().get(mailed(mailoutbox))
    assert not EmailAddress.objects.get().verified


def test_the_link_alone_lets_nobody_in(client: Client, mailoutbox: list[EmailMessage]) -> None:
    client.post(URL, ZOE)
    elsewhere = Client()
    assert elsewhere.post(mailed(mailoutbox))["Location"] == "/accounts/login/"
    assert elsewhere.get("/").status_code == 302


def test_who_has_no_role_is_told_what_to_do_first(client: Client, mailoutbox: list[EmailMessage]) -> None:
    client.post(URL, ZOE)
    client.post(mailed(mailoutbox))
    home = words(client.get("/"))
    assert "You belong to no lab yet" in home
    assert "zoe@example.org" in home


def test_a_known_address_gets_the_same_answer_and_a_mail_that_says_so(
    mei: User, mailoutbox: list[EmailMessage]
) -> None:
    pages = []
    for email in (mei.email, "new@example.org"):
        client = Client()
        answer = client.post(URL, {**ZOE, "email": email})
        pages.append((answer.status_code, answer["Location"], words(client.get(answer["Location"]))))
    assert pages[0] == pages[1]
    mailing.send_waiting()
    assert {mail.to[0]: mail.subject for mail in mailoutbox} == {
        mei.email: "You have an account at Firefly already",
        "new@example.org": "Confirm your e-mail address at Firefly",
    }
    assert User.objects.get(pk=mei.pk).check_password(PASSWORD)


def test_a_known_address_costs_a_password_s_work_too(mei: User, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def set_password(user: User, raw: str) -> None:
        made.append(raw)
        user.password = make_password(raw)

    monkeypatch.setattr(User, "set_password", set_password)
    for email in (mei.email, "new@example.org"):
        Client().post(URL, {**ZOE, "email": email})
    assert made == [PASSWORD, PASSWORD]


def test_of_two_at_the_same_time_one_gets_the_account(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one looked for the address before the first was saved."""
    client.post(URL, ZOE)
    monkeypatch.setattr(SignUpForm, "validate_unique_email", lambda form, email: email)
    assert Client().post(URL, ZOE)["Location"] == "/accounts/confirm-email/"
    assert User.objects.count() == 1


def test_it_leaves_an_audit_row(client: Client) -> None:
    client.post(URL, ZOE)
    assert AuditEvent.objects.about(User.objects.get()).get().action == "account made"


def test_what_is_stored_of_a_mail_opens_nothing(client: Client, mailoutbox: list[EmailMessage]) -> None:
    client.post(URL, ZOE)
    link = mailed(mailoutbox)
    key = link.rstrip("/").rpartition("/")[2]
    assert key not in str(list(OutgoingMail.objects.values()))


def test_a_forged_link_confirms_nothing(client: Client, mailoutbox: list[EmailMessage]) -> None:
    client.post(URL, ZOE)
    forged = mailed(mailoutbox)[:-3] + "AA/"
    assert "no longer works" in words(client.get(forged))
    assert client.post(forged).status_code == 404


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("name", "", "This field is required"),
        ("name", "a\u202eb", "Use letters, spaces and dots only"),
        ("name", "x" * 3000, "at most 150"),
        ("email", "zoe", "valid email"),
        ("password1", "password", "too common"),
        ("password1", "short", "too short"),
    ],
)
def test_it_says_at_the_field_what_is_wrong(client: Client, field: str, value: str, why: str) -> None:
    answer = client.post(URL, {**ZOE, field: value})
    assert why in words(answer)
    assert not User.objects.exists()


def test_a_name_of_spaces_and_lines_becomes_one_line(client: Client) -> None:
    client.post(URL, {**ZOE, "name": "  Zoe \n  Baker "})
    assert User.objects.get().name == "Zoe Baker"


def test_it_ends_after_thirty_tries_an_hour(client: Client) -> None:
    for _ in range(30):
        assert client.post(URL, {}).status_code == 200
    answer = client.post(URL, ZOE)
    assert (answer.status_code, "Too many tries" in words(answer)) == (429, True)
    assert not User.objects.exists()


def test_mails_come_in_the_language_of_the_page(client: Client) -> None:
    client.post("/i18n/setlang/", {"language": "zh-hans", "next": URL})
    client.post(URL, ZOE)
    assert User.objects.get().language == "zh-hans"
    assert OutgoingMail.objects.get().language == "zh-hans"
    translation.activate("en")


# ── With an invitation ───────────────────────────────────────────────────────


def invited(email: str = "zoe@example.org") -> Client:
    """A browser that has opened the link of an invitation."""
    client = Client()
    client.get("/accounts/login/")
    session = client.session
    session["invited_email"] = email
    session.save()
    return client


def test_who_was_invited_is_in_at_once_and_goes_on_to_the_invitation() -> None:
    client = invited()
    page = client.get(URL + "?next=/people/")
    assert 'value="zoe@example.org"' in page.content.decode()
    answer = client.post(URL, {"name": "Zoe Baker", "password1": PASSWORD, "next": "/people/"})
    assert answer["Location"] == "/people/"
    assert client.get("/").status_code == 200
    assert not OutgoingMail.objects.filter(template="account_confirm").exists()


def test_the_invited_address_can_t_be_exchanged() -> None:
    client = invited()
    client.post(URL, {**ZOE, "email": "other@example.org"})
    assert User.objects.get().email == "zoe@example.org"


def test_an_invitation_counts_for_one_sign_up() -> None:
    client = invited()
    client.post(URL, ZOE)
    assert "invited_email" not in client.session


def test_who_was_invited_and_has_an_account_logs_in_instead(mei: User) -> None:
    answer = invited(mei.email).get(URL + "?next=/people/")
    assert answer["Location"] == "/accounts/login/?next=%2Fpeople%2F"


def test_it_does_not_lead_to_other_sites() -> None:
    answer = invited().post(URL + "?next=https://evil.example/", ZOE)
    assert answer["Location"] == "/"


# ── Addresses of an account ──────────────────────────────────────────────────

ADDRESSES = "/accounts/email/"


def test_a_further_address_is_confirmed_and_made_the_main_one(
    mei: User, mailoutbox: list[EmailMessage]
) -> None:
    client = browser(mei)
    client.post(ADDRESSES, {"email": "mei@home.example", "action_add": ""})
    client.post(mailed(mailoutbox))
    client.post(ADDRESSES, {"email": "mei@home.example", "action_primary": ""})
    assert User.objects.get(pk=mei.pk).email == "mei@home.example"


def test_the_address_of_somebody_else_never_becomes_one_s_own(
    mei: User, otto: User, mailoutbox: list[EmailMessage]
) -> None:
    client = browser(otto)
    answers = [
        words(client.post(ADDRESSES, {"email": email, "action_add": ""}, follow=True)).replace(email, "…")
        for email in (mei.email, "new@example.org")
    ]
    assert answers[0].count("A link is on its way") == answers[1].count("A link is on its way") == 1
    mailing.send_waiting()
    [to_mei] = [mail for mail in mailoutbox if mail.to == [mei.email]]
    assert link_in(to_mei) == "/accounts/login/"


def test_an_address_that_somebody_else_got_meanwhile_can_t_be_confirmed(
    otto: User, mailoutbox: list[EmailMessage]
) -> None:
    client = browser(otto)
    client.post(ADDRESSES, {"email": "zoe@example.org", "action_add": ""})
    link = mailed(mailoutbox)
    newcomer("zoe@example.org", "Zoe Baker").save()
    assert "no longer works" in words(client.get(link))
    assert client.post(link).status_code == 404


def test_a_further_address_of_somebody_is_no_newcomer(mei: User) -> None:
    EmailAddress.objects.create(user=mei, email="mei@home.example", verified=True)
    with pytest.raises(ValidationError, match="known already"):
        newcomer("mei@home.example", "Mei")


def test_the_main_address_stays(mei: User) -> None:
    client = browser(mei)
    client.get(ADDRESSES)
    client.post(ADDRESSES, {"email": mei.email, "action_remove": ""})
    assert User.objects.get(pk=mei.pk).email == mei.email
