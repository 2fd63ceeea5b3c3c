"""The log-in lets people in by e-mail, says the same whoever does not exist, and slows down guessing."""

from __future__ import annotations

from datetime import timedelta

import pytest
import time_machine
from django.core.mail import EmailMessage
from django.test import Client
from django.utils import timezone

from portal.models import FailedLogIn, User, log_in
from tests.factories import PASSWORD
from tests.pages import browser, words

URL = "/accounts/login/"
WRONG = "not the password"


def try_to(client: Client, email: str, password: str = WRONG) -> str:
    return words(client.post(URL, {"username": email, "password": password}))


def test_it_lets_a_person_in_by_email_in_any_case(client: Client, mei: User) -> None:
    answer = client.post(URL, {"username": "MEI@example.org", "password": PASSWORD})
    assert (answer.status_code, answer["Location"]) == (302, "/")


@pytest.mark.parametrize("url", ["/", "/projects/", "/people/", "/requests/", "/reports/", "/no/such/page/"])
def test_every_other_page_asks_to_log_in_first(client: Client, db: None, url: str) -> None:
    answer = client.get(url)
    assert answer.status_code == (404 if url == "/no/such/page/" else 302)
    assert answer.status_code == 404 or answer["Location"].startswith(URL)


def test_it_does_not_tell_who_exists(client: Client, mei: User) -> None:
    gone = User.objects.create_user("gone@example.org", PASSWORD, name="Gone", is_active=False)
    answers = {
        try_to(client, mei.email).replace(mei.email, "…"),
        try_to(client, "nobody@example.org").replace("nobody@example.org", "…"),
        try_to(client, gone.email, PASSWORD).replace(gone.email, "…"),
    }
    assert len(answers) == 1
    assert "don't fit together" in answers.pop()


@pytest.mark.parametrize("email", ["mei@example.org", "nobody@example.org"])
def test_it_stops_guessing_for_a_while(client: Client, mei: User, email: str) -> None:
    for _ in range(log_in.TRIES):
        assert "don't fit together" in try_to(client, email)
    assert "Too many wrong passwords" in try_to(client, email, PASSWORD)
    assert "don't fit together" in try_to(client, "ivo@example.org")
    with time_machine.travel(timezone.now() + log_in.WINDOW + timedelta(seconds=1)):
        assert "Too many" not in try_to(client, email, PASSWORD)


def test_another_address_is_not_kept_out(client: Client, mei: User) -> None:
    for _ in range(log_in.TRIES):
        try_to(client, mei.email)
    answer = client.post(URL, {"username": mei.email, "password": PASSWORD}, REMOTE_ADDR="192.0.2.9")
    assert answer.status_code == 302


def test_old_failures_are_forgotten(client: Client, db: None) -> None:
    with time_machine.travel(timezone.now() - timedelta(days=1)):
        try_to(client, "nobody@example.org")
    try_to(client, "nobody@example.org")
    assert FailedLogIn.objects.count() == 1


@pytest.mark.parametrize("email", ["", "a\0b@example.org", "x" * 3000, "‮@example.org", "'; drop table"])
def test_odd_names_are_answered_in_words(client: Client, db: None, email: str) -> None:
    answer = client.post(URL, {"username": email, "password": "x"})
    assert answer.status_code == 200


def test_the_language_can_be_chosen_before_logging_in(client: Client, db: None) -> None:
    answer = client.post("/i18n/setlang/", {"language": "zh-hans", "next": URL})
    assert (answer.status_code, answer["Location"]) == (302, URL)


def test_it_does_not_lead_to_other_sites(client: Client, mei: User) -> None:
    answer = client.post(URL + "?next=https://evil.example/", {"username": mei.email, "password": PASSWORD})
    assert answer["Location"] == "/"


def test_a_forgotten_password_can_be_reset_without_telling_who_exists(
    client: Client, mei: User, mailoutbox: list[EmailMessage]
) -> None:
    url = "/accounts/password_reset/"
    assert client.get(url).status_code == 200
    answers = {client.post(url, {"email": email})["Location"] for email in (mei.email, "nobody@example.org")}
    assert answers == {"/accounts/password_reset/done/"}
    assert client.get(answers.pop()).status_code == 200
    [mail] = mailoutbox
    assert mail.to == [mei.email]


def test_who_is_logged_in_changes_the_password_and_logs_out(mei: User) -> None:
    client = browser(mei)
    assert client.get("/accounts/password_change/").status_code == 200
    client.post("/accounts/logout/")
    assert client.get("/projects/").status_code == 302
