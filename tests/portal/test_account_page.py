"""One's account: how one logs in, in which language the portal speaks, and where one is logged in."""

from __future__ import annotations

import pytest
from allauth.usersessions.models import UserSession
from django.test import Client

from portal.models import User
from portal.registering import confirm_only_address
from tests.factories import PASSWORD
from tests.pages import browser, queries_of, words

pytestmark = pytest.mark.django_db

URL, SESSIONS, END = "/accounts/", "/accounts/sessions/", "/accounts/sessions/end/"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


def logged_in(user: User, agent: str = FIREFOX) -> Client:
    """A browser in which `user` logged in by its page."""
    confirm_only_address(user)
    client = Client(headers={"User-Agent": agent})
    client.post("/accounts/login/", {"login": user.email, "password": PASSWORD})
    return client


def test_it_says_how_one_logs_in(mei: User) -> None:
    page = words(browser(mei).get(URL))
    assert "A stolen password would be enough to be you" in page
    assert mei.email in page


def test_the_menu_leads_there(mei: User) -> None:
    assert f'href="{URL}"' in browser(mei).get("/").content.decode()


def test_it_takes_few_queries(mei: User) -> None:
    assert queries_of(browser(mei), URL) <= 15


# ── The language ─────────────────────────────────────────────────────────────


def test_the_language_is_kept_for_the_person_and_comes_along(mei: User) -> None:
    browser(mei).post("/i18n/setlang/", {"language": "zh-hans", "next": URL})
    assert User.objects.get(pk=mei.pk).language == "zh-hans"
    assert 'lang="zh-hans"' in logged_in(mei).get("/").content.decode()


@pytest.mark.parametrize("language", ["", "xx", "zh-hans; x", "x" * 3000, "a\0b"])
def test_a_language_that_is_none_is_not_kept(mei: User, language: str) -> None:
    browser(mei).post("/i18n/setlang/", {"language": language, "next": "/"})
    assert User.objects.get(pk=mei.pk).language == ""


# ── Browsers ─────────────────────────────────────────────────────────────────


def test_it_lists_where_one_is_logged_in(mei: User, otto: User) -> None:
    here = logged_in(mei)
    logged_in(mei, "curl/8")
    logged_in(otto, "Lynx")
    page = words(here.get(SESSIONS))
    assert "here and in 1 other browser" in page
    assert "Firefox on Linux" in page
    assert "curl/8" in page
    assert "Lynx" not in page


def test_one_other_browser_is_logged_out(mei: User) -> None:
    here, there, third = logged_in(mei), logged_in(mei), logged_in(mei)
    session = UserSession.objects.get(session_key=there.session.session_key)
    assert "Logged out there." in words(here.post(END, {"session": session.pk}, follow=True))
    assert [client.get("/").status_code for client in (here, there, third)] == [200, 302, 200]


def test_all_others_are_logged_out(mei: User) -> None:
    here, there, third = logged_in(mei), logged_in(mei), logged_in(mei)
    here.post(END, {"session": "all"})
    assert [client.get("/").status_code for client in (here, there, third)] == [200, 302, 302]


def test_nobody_logs_out_somebody_else(mei: User, otto: User) -> None:
    theirs = logged_in(otto)
    for session in (UserSession.objects.get().pk, "all"):
        logged_in(mei).post(END, {"session": session})
    assert theirs.get("/").status_code == 200


@pytest.mark.parametrize("session", ["", "x", "１２", str(2**63), "9" * 5000, "-1", "a\0b"])
def test_a_session_that_is_none_ends_nothing(mei: User, session: str) -> None:
    here, there = logged_in(mei), logged_in(mei)
    assert "logged out already" in words(here.post(END, {"session": session}, follow=True))
    assert there.get("/").status_code == 200
