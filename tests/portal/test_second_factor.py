"""A second factor is set up, asked for, and needed by those whose role decides over others."""

from __future__ import annotations

import json
import re
import time
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.core.mail import EmailMessage
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoCaptureOnCommitCallbacks
from pytest_django.fixtures import Settings

from portal import mailing
from portal.models import AuditEvent, Role, User
from portal.registering import confirm_only_address
from tests.factories import PASSWORD, MembershipFactory
from tests.pages import browser, words
from tests.soft_key import SoftKey

pytestmark = pytest.mark.django_db

ALL, APP, KEY, CODES = (
    f"/accounts/2fa/{part}" for part in ("", "totp/activate/", "webauthn/add/", "recovery-codes/")
)


def code_of(secret: str) -> str:
    """What the app shows now."""
    return str(format_hotp_value(hotp_value(secret, int(time.time()) // 30)))


def connect_app(client: Client) -> str:
    """Set up an authenticator app; its secret."""
    secret = re.findall(r"<code>(\w+)</code>", client.get(APP).content.decode())[0]
    answer = client.post(APP, {"code": code_of(secret)})
    assert answer["Location"] == CODES
    return str(secret)


def options_on(page: Any, name: str) -> dict[str, Any]:
    """What the page asks the browser for."""
    [data] = re.findall(r'id="security-key-data"[^>]*>(.*?)</script>', page.content.decode())
    options: dict[str, Any] = json.loads(data)[name]
    return options


def add_key(client: Client) -> SoftKey:
    key = SoftKey()
    options = options_on(client.get(KEY), "creation_options")
    answer = client.post(KEY, {"name": "Blue key", "credential": key.registers(options)})
    assert answer.status_code == 302
    return key


def with_password(user: User) -> Client:
    """A browser in which the password was right: the second factor is asked next, if there is one."""
    confirm_only_address(user)
    client = Client()
    client.post("/accounts/login/", {"login": user.email, "password": PASSWORD})
    return client


# ── The app ──────────────────────────────────────────────────────────────────


def test_with_an_app_the_password_is_not_enough(mei: User) -> None:
    secret = connect_app(browser(mei))
    client = with_password(mei)
    assert client.get("/").status_code == 302
    assert client.post("/accounts/2fa/authenticate/", {"code": code_of(secret)})["Location"] == "/"
    assert client.get("/").status_code == 200


def test_a_code_works_once(mei: User) -> None:
    secret = connect_app(browser(mei))
    with time_machine.travel(timezone.now() + timedelta(minutes=2), tick=False):
        code = code_of(secret)
        with_password(mei).post("/accounts/2fa/authenticate/", {"code": code})
        second = with_password(mei)
        assert "code is not right" in words(second.post("/accounts/2fa/authenticate/", {"code": code}))


def test_codes_can_t_be_guessed(mei: User) -> None:
    """Not from new sessions and not from other addresses either."""
    secret = connect_app(browser(mei))
    for n in range(10):
        answer = with_password(mei).post(
            "/accounts/2fa/authenticate/", {"code": "000000"}, REMOTE_ADDR=f"192.0.2.{n}"
        )
        assert "code is not right" in words(answer)
    answer = with_password(mei).post("/accounts/2fa/authenticate/", {"code": code_of(secret)})
    assert "Too many wrong tries" in words(answer)


def test_the_key_of_the_app_is_not_readable_in_the_database(mei: User) -> None:
    secret = connect_app(browser(mei))
    assert secret not in str(list(Authenticator.objects.values("data")))


def test_it_survives_a_new_secret_key_of_the_site(mei: User, settings: Settings) -> None:
    secret = connect_app(browser(mei))
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another one, just as long as the first one was before it"
    client = with_password(mei)
    assert client.post("/accounts/2fa/authenticate/", {"code": code_of(secret)})["Location"] == "/"


def test_a_wrong_code_connects_nothing(mei: User) -> None:
    client = browser(mei)
    client.get(APP)
    assert "code is not right" in words(client.post(APP, {"code": "000000"}))
    assert not Authenticator.objects.exists()


def test_the_app_is_removed_again_and_its_person_is_told(
    mei: User,
    mailoutbox: list[EmailMessage],
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    client = browser(mei)
    with django_capture_on_commit_callbacks(execute=True):
        connect_app(client)
    client.post("/accounts/2fa/totp/deactivate/")
    assert not Authenticator.objects.exists()
    mailing.send_waiting()
    assert "the authenticator app was removed" in str(mailoutbox[-1].body)
    told = [event.detail["what"] for event in AuditEvent.objects.about(mei)]
    assert told == ["totp_deactivated", "totp_activated"]


# ── Recovery codes ───────────────────────────────────────────────────────────


def test_a_recovery_code_lets_in_once(mei: User) -> None:
    client = browser(mei)
    connect_app(client)
    code = re.findall(r"<code>(\d{8})</code>", client.get(CODES).content.decode())[0]
    assert with_password(mei).post("/accounts/2fa/authenticate/", {"code": code})["Location"] == "/"
    again = with_password(mei).post("/accounts/2fa/authenticate/", {"code": code})
    assert "code is not right" in words(again)


def test_new_codes_replace_the_old_ones(mei: User) -> None:
    client = browser(mei)
    connect_app(client)
    old = client.get(f"{CODES}download/").content
    client.post(f"{CODES}generate/")
    assert client.get(f"{CODES}download/").content != old


# ── Security keys ────────────────────────────────────────────────────────────


def test_with_a_key_the_password_is_not_enough(mei: User) -> None:
    key = add_key(browser(mei))
    client = with_password(mei)
    assert client.get("/").status_code == 302
    options = options_on(client.get("/accounts/2fa/authenticate/"), "request_options")
    answer = client.post("/accounts/2fa/authenticate/", {"credential": key.answers(options)})
    assert answer["Location"] == "/"


def test_another_key_does_not_open(mei: User) -> None:
    add_key(browser(mei))
    client = with_password(mei)
    options = options_on(client.get("/accounts/2fa/authenticate/"), "request_options")
    client.post("/accounts/2fa/authenticate/", {"credential": SoftKey().answers(options)})
    assert client.get("/").status_code == 302


def test_an_answer_to_another_page_does_not_open(mei: User) -> None:
    key = add_key(browser(mei))
    client = with_password(mei)
    old = options_on(client.get("/accounts/2fa/authenticate/"), "request_options")
    client.get("/accounts/2fa/authenticate/")
    client.post("/accounts/2fa/authenticate/", {"credential": key.answers(old)})
    assert client.get("/").status_code == 302


@pytest.mark.parametrize("part", ["signature", "clientDataJSON", "authenticatorData"])
@pytest.mark.parametrize("value", ["AAAA", "", "!", None, 7, {}])
def test_a_forged_answer_of_the_right_key_does_not_open(mei: User, part: str, value: object) -> None:
    key = add_key(browser(mei))
    client = with_password(mei)
    options = options_on(client.get("/accounts/2fa/authenticate/"), "request_options")
    answer = json.loads(key.answers(options))
    answer["response"][part] = value
    page = client.post("/accounts/2fa/authenticate/", {"credential": json.dumps(answer)})
    assert "not known here" in words(page)
    assert client.get("/").status_code == 302


@pytest.mark.parametrize("value", ["AAAA", "", "!", None, 7, {}])
def test_a_forged_key_is_not_added(mei: User, value: object) -> None:
    client = browser(mei)
    options = options_on(client.get(KEY), "creation_options")
    answer = json.loads(SoftKey().registers(options))
    answer["response"]["attestationObject"] = value
    page = client.post(KEY, {"name": "Blue key", "credential": json.dumps(answer)})
    assert page.status_code == 200
    assert not Authenticator.objects.exists()


def test_a_key_confirms_again(mei: User) -> None:
    client = browser(mei)
    key = add_key(client)
    url = "/accounts/2fa/webauthn/reauthenticate/?next=/people/"
    options = options_on(client.get(url), "request_options")
    assert client.post(url, {"credential": key.answers(options)})["Location"] == "/people/"


def test_a_key_is_renamed_and_removed_by_its_person_alone(mei: User, otto: User) -> None:
    client = browser(mei)
    add_key(client)
    url = f"/accounts/2fa/webauthn/keys/{Authenticator.objects.get(type='webauthn').pk}/"
    client.post(f"{url}edit/", {"name": "Green key"})
    assert "Green key" in words(client.get(ALL))
    assert browser(otto).post(f"{url}remove/").status_code == 404
    client.post(f"{url}remove/")
    assert not Authenticator.objects.exists()


# ── Who needs one ────────────────────────────────────────────────────────────


@pytest.fixture
def needed(settings: Settings) -> None:
    settings.MFA_REQUIRED_ROLES = ["staff", "approver", "pi"]


@pytest.mark.parametrize("name", ["sam", "ann", "ivo"])
def test_staff_approvers_and_pis_get_nowhere_without_one(
    needed: None, name: str, request: pytest.FixtureRequest
) -> None:
    client = browser(request.getfixturevalue(name))
    for url in ("/", "/projects/", "/people/", "/accounts/sessions/"):
        assert client.get(url)["Location"] == ALL
    assert "Your role needs one" in words(client.get(ALL))
    assert client.get(APP).status_code == 200
    assert client.post("/i18n/setlang/", {"language": "en", "next": ALL})["Location"] == ALL


@pytest.mark.parametrize("name", ["mei", "ada", "fay"])
def test_others_may_go_without(needed: None, name: str, request: pytest.FixtureRequest) -> None:
    assert browser(request.getfixturevalue(name)).get("/").status_code == 200


def test_the_api_says_what_to_do(needed: None, ivo: User) -> None:
    answer = browser(ivo).get("/api/v1/projects/")
    assert (answer.status_code, answer["Content-Type"]) == (403, "application/problem+json")
    assert "second factor" in answer.json()["detail"]


def test_once_it_is_set_up_everything_opens(needed: None, sam: User) -> None:
    client = browser(sam)
    connect_app(client)
    assert client.get("/").status_code == 200


def test_it_is_needed_from_the_minute_a_role_is_given(needed: None, mei: User) -> None:
    client = browser(mei)
    assert client.get("/").status_code == 200
    MembershipFactory.create(user=mei, role=Role.STAFF)
    assert client.get("/")["Location"] == ALL


def test_the_last_one_stays_while_the_role_needs_it(needed: None, sam: User) -> None:
    client = browser(sam)
    connect_app(client)
    answer = client.post("/accounts/2fa/totp/deactivate/")
    assert "Add another one first" in words(answer)
    add_key(client)
    assert client.post("/accounts/2fa/totp/deactivate/").status_code == 302


def test_who_lacks_one_can_log_out(needed: None, sam: User) -> None:
    client = browser(sam)
    assert client.post("/accounts/logout/")["Location"] == "/accounts/login/"
