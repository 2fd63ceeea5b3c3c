"""Logging in with another place's account, against a real OpenID provider on this machine: known by issuer and subject."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import requests
from allauth.socialaccount.models import SocialAccount
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMessage
from django.test import Client
from oidc_provider_mock import User as Claims
from oidc_provider_mock import run_server_in_thread
from pytest_django.fixtures import Settings

from portal import connected_log_ins
from portal.models import User
from portal.registering import confirm_only_address
from tests.factories import PASSWORD
from tests.pages import browser, words
from tests.portal.test_second_factor import connect_app
from tests.portal.test_sign_up import link_in, mailed

pytestmark = pytest.mark.django_db

THERE, CONNECTIONS, SIGN_UP = (
    "/accounts/oidc/northlake/login/",
    "/accounts/3rdparty/",
    "/accounts/3rdparty/signup/",
)
GIVEN = {
    "id": "northlake",
    "name": "Northlake University",
    "server_url": "https://login.northlake.example/",
    "client_id": "portal",
    "secret": "quiet",
}


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    """Northlake's OpenID provider: it knows zoe, and somebody who claims mei's address."""
    known = [
        Claims(sub="zoe-1", claims={"name": "Zoe Baker", "email": "zoe@example.org", "email_verified": True}),
        Claims(sub="mal-1", claims={"name": "Mal", "email": "mei@example.org", "email_verified": True}),
        Claims(sub="shy-1", claims={}),
    ]
    with run_server_in_thread(user_claims=known) as server:
        yield f"http://127.0.0.1:{server.server_port}"


@pytest.fixture(autouse=True)
def connected(provider: str, settings: Settings) -> None:
    settings.OIDC_PROVIDERS = connected_log_ins.read([GIVEN | {"server_url": provider}])
    settings.SOCIALACCOUNT_PROVIDERS = {
        "openid_connect": {"OAUTH_PKCE_ENABLED": True, "APPS": settings.OIDC_PROVIDERS}
    }


def log_in_there(client: Client, subject: str, query: str = "") -> str:
    """Press our button and log in on the other side; where the portal leads then."""
    page = client.post(THERE + query)["Location"]
    back = requests.post(page, data={"sub": subject}, allow_redirects=False, timeout=5).headers["Location"]
    return str(client.get(back.partition("testserver")[2])["Location"])


def known_there(user: User, subject: str) -> None:
    SocialAccount.objects.create(user=user, provider="northlake", uid=subject)


def test_the_log_in_has_a_button(client: Client) -> None:
    assert "Log in with Northlake University" in words(client.get("/accounts/login/"))


def test_where_none_is_set_up_there_is_no_button(client: Client, settings: Settings) -> None:
    settings.OIDC_PROVIDERS = []
    settings.SOCIALACCOUNT_PROVIDERS = {}
    assert "Log in with" not in words(client.get("/accounts/login/"))
    assert client.post(THERE).status_code == 404


def test_a_newcomer_makes_an_account_and_confirms_the_address_here(
    client: Client, mailoutbox: list[EmailMessage]
) -> None:
    """Whatever the other side says about it."""
    assert log_in_there(client, "zoe-1") == SIGN_UP
    page = client.get(SIGN_UP)
    assert 'value="Zoe Baker"' in page.content.decode()
    answer = client.post(SIGN_UP, {"name": "Zoe Baker", "email": "zoe@example.org"})
    assert answer["Location"] == "/accounts/confirm-email/"
    assert client.get("/").status_code == 302
    assert client.post(mailed(mailoutbox))["Location"] == "/"
    zoe = User.objects.get(email="zoe@example.org")
    assert (zoe.name, zoe.has_usable_password()) == ("Zoe Baker", False)
    assert log_in_there(Client(), "zoe-1") == "/"


def test_an_address_alone_opens_nobody_s_account(mei: User, mailoutbox: list[EmailMessage]) -> None:
    confirm_only_address(mei)
    client = Client()
    log_in_there(client, "mal-1")
    client.post(SIGN_UP, {"name": "Mal", "email": mei.email})
    assert client.get("/").status_code == 302
    assert link_in_last(mailoutbox) == "/accounts/login/"
    assert not SocialAccount.objects.exists()


def link_in_last(mailoutbox: list[EmailMessage]) -> str:
    mailed(mailoutbox)
    return link_in(mailoutbox[-1])


def test_a_subject_is_somebody_only_at_its_own_provider(mei: User) -> None:
    SocialAccount.objects.create(user=mei, provider="elsewhere", uid="zoe-1")
    client = Client()
    assert log_in_there(client, "zoe-1") == SIGN_UP
    assert client.get("/").status_code == 302


def test_who_is_logged_in_connects_it_and_removes_it_again(mei: User) -> None:
    confirm_only_address(mei)
    client = browser(mei)
    assert log_in_there(client, "shy-1", "?process=connect") == CONNECTIONS
    assert "Northlake University" in words(client.get("/accounts/"))
    other = Client()
    assert log_in_there(other, "shy-1") == "/"
    assert other.get("/").status_code == 200
    client.post(CONNECTIONS, {"account": SocialAccount.objects.get().pk})
    assert not SocialAccount.objects.exists()


def test_the_only_way_in_stays(mei: User) -> None:
    confirm_only_address(mei)
    mei.set_unusable_password()
    mei.save()
    known_there(mei, "shy-1")
    answer = browser(mei).post(CONNECTIONS, {"account": SocialAccount.objects.get().pk})
    assert "Set a password first" in words(answer)
    assert SocialAccount.objects.exists()


def test_the_second_factor_is_asked_for_all_the_same(mei: User) -> None:
    confirm_only_address(mei)
    connect_app(browser(mei))
    known_there(mei, "shy-1")
    client = Client()
    assert log_in_there(client, "shy-1") == "/accounts/2fa/authenticate/"
    assert client.get("/").status_code == 302


def test_who_was_switched_off_is_told_so(mei: User) -> None:
    known_there(mei, "shy-1")
    User.objects.filter(pk=mei.pk).update(is_active=False)
    client = Client()
    assert log_in_there(client, "shy-1") == "/accounts/login/"
    assert "switched off" in words(client.get("/accounts/login/"))


def test_who_was_invited_comes_in_with_the_invited_address(mailoutbox: list[EmailMessage]) -> None:
    client = Client()
    client.get("/accounts/login/")
    session = client.session
    session["invited_email"] = "zoe@lab.example"
    session.save()
    log_in_there(client, "zoe-1", "?next=/people/")
    answer = client.post(SIGN_UP, {"name": "Zoe Baker", "email": "zoe@example.org"})
    assert answer["Location"] == "/people/"
    assert User.objects.get().email == "zoe@lab.example"


def test_a_provider_that_can_t_be_reached_is_told_in_words(client: Client, settings: Settings) -> None:
    settings.SOCIALACCOUNT_PROVIDERS["openid_connect"]["APPS"][0]["settings"]["server_url"] = (
        "http://127.0.0.1:1"
    )
    page = client.post(THERE, follow=True)
    assert "The other side did not answer as it should" in words(page)


@pytest.mark.parametrize("query", ["", "?error=access_denied", "?code=x&state=y", "?state=%00", "?code=%FF"])
def test_a_callback_that_nobody_asked_for_lets_nobody_in(client: Client, query: str) -> None:
    assert client.get(f"{THERE}callback/{query}").status_code == 302
    assert client.get("/").status_code == 302


# ── The setting ──────────────────────────────────────────────────────────────


def test_the_browser_may_go_to_the_log_in_page(client: Client) -> None:
    """Chromium holds the redirect after our form to `form-action`."""
    apps = connected_log_ins.read([GIVEN, GIVEN | {"id": "b", "log_in_page": "https://sso.b.example/start"}])
    assert connected_log_ins.addresses(apps) == ["https://login.northlake.example", "https://sso.b.example"]
    assert (
        "form-action 'self' http://127.0.0.1:1" in client.get("/accounts/login/")["Content-Security-Policy"]
    )


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({}, "not a list"),
        (["x"], "not a list"),
        ([GIVEN, GIVEN], "an id twice"),
        ([GIVEN | {"secret": ""}], "northlake: look at secret"),
        ([GIVEN | {"colour": "red"}], "look at colour"),
        ([GIVEN | {"id": "No id"}], "is no id"),
    ],
)
def test_a_setting_that_can_t_be_right_stops_the_start(given: object, why: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=why):
        connected_log_ins.read(given)


def test_somebody_else_s_password_does_not_confirm(mei: User) -> None:
    """A person without a password here has nothing to type, so nothing to guess."""
    mei.set_unusable_password()
    mei.save()
    assert browser(mei).post("/accounts/reauthenticate/", {"password": PASSWORD}).status_code == 403


def test_the_issuer_s_address_is_kept_without_its_last_slash() -> None:
    [app] = connected_log_ins.read([GIVEN])
    assert urlsplit(app["settings"]["server_url"]).path == ""
