"""The log-in lets people in by e-mail, says the same whoever does not exist, and slows down guessing."""

from __future__ import annotations

from datetime import timedelta

import pytest
import time_machine
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from portal.models import User
from portal.registering import confirm_only_address
from tests.factories import PASSWORD
from tests.pages import browser, words

URL = "/accounts/login/"
WRONG = "not the password"
TRIES, WINDOW = 10, timedelta(minutes=15)


@pytest.fixture
def mei(mei: User) -> User:
    """She has confirmed her address."""
    confirm_only_address(mei)
    return mei


def try_to(client: Client, email: str, password: str = WRONG) -> str:
    return words(client.post(URL, {"login": email, "password": password}))


def test_it_lets_a_person_in_by_email_in_any_case(client: Client, mei: User) -> None:
    answer = client.post(URL, {"login": "MEI@example.org", "password": PASSWORD})
    assert (answer.status_code, answer["Location"]) == (302, "/")
    assert client.get("/").status_code == 200


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


@pytest.mark.parametrize(
    ("email", "password"),
    [("mei@example.org", WRONG), ("nobody@example.org", WRONG), ("gone@example.org", PASSWORD)],
)
def test_it_stops_guessing_for_a_while(client: Client, mei: User, email: str, password: str) -> None:
    User.objects.create_user("gone@example.org", PASSWORD, name="Gone", is_active=False)
    for _ in range(TRIES):
        assert "don't fit together" in try_to(client, email, password)
    assert "Too many wrong tries" in try_to(client, email, PASSWORD)
    assert "don't fit together" in try_to(client, "ivo@example.org")
    with time_machine.travel(timezone.now() + WINDOW + timedelta(seconds=1)):
        assert "Too many" not in try_to(client, email, PASSWORD)


def test_another_address_is_not_kept_out(client: Client, mei: User) -> None:
    for _ in range(TRIES):
        try_to(client, mei.email)
    answer = client.post(URL, {"login": mei.email, "password": PASSWORD}, REMOTE_ADDR="192.0.2.9")
    assert answer.status_code == 302


def test_behind_a_proxy_of_ours_its_word_for_the_address_counts(client: Client, mei: User) -> None:
    """And without one, nobody's: else every guess would come from a new address."""
    for n in range(TRIES):
        client.post(URL, {"login": mei.email, "password": WRONG}, headers={"X-Forwarded-For": f"192.0.2.{n}"})
    assert "Too many" in try_to(client, mei.email)


def test_right_passwords_don_t_use_up_the_tries(client: Client, mei: User) -> None:
    for _ in range(TRIES + 2):
        assert Client().post(URL, {"login": mei.email, "password": PASSWORD}).status_code == 302


def test_lost_counts_let_people_in(client: Client, mei: User) -> None:
    for _ in range(TRIES):
        try_to(client, mei.email)
    cache.clear()
    assert client.post(URL, {"login": mei.email, "password": PASSWORD}).status_code == 302


@pytest.mark.parametrize("email", ["", "a\0b@example.org", "x" * 3000, "‮@example.org", "'; drop table"])
def test_odd_names_are_answered_in_words(client: Client, db: None, email: str) -> None:
    answer = client.post(URL, {"login": email, "password": "x"})
    assert answer.status_code == 200


def test_the_language_can_be_chosen_before_logging_in(client: Client, db: None) -> None:
    answer = client.post("/i18n/setlang/", {"language": "zh-hans", "next": URL})
    assert (answer.status_code, answer["Location"]) == (302, URL)


def test_it_does_not_lead_to_other_sites(client: Client, mei: User) -> None:
    answer = client.post(URL + "?next=https://evil.example/", {"login": mei.email, "password": PASSWORD})
    assert answer["Location"] == "/"


def test_who_logs_out_is_out_and_is_told(mei: User) -> None:
    client = browser(mei)
    assert "Your jobs go on without you." in words(client.post("/accounts/logout/", follow=True))
    assert client.get("/projects/").status_code == 302


def test_who_was_switched_off_is_out_at_once(mei: User) -> None:
    client = browser(mei)
    User.objects.filter(pk=mei.pk).update(is_active=False)
    assert client.get("/projects/")["Location"].startswith(URL)
