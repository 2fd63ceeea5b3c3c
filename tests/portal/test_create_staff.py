"""`manage.py create_staff`: how the first person of a centre gets in."""

from __future__ import annotations

import io
from urllib.parse import urlsplit

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from pytest_django.fixtures import Settings

from portal.models import AuditEvent, Membership, Role, User
from tests.factories import PASSWORD

pytestmark = pytest.mark.django_db


def create(email: str = "zoe@centre.example", name: str = "Zoe Baker") -> str:
    out = io.StringIO()
    call_command("create_staff", email, name, stdout=out)
    return out.getvalue().strip()


def choose_password(link: str) -> Client:
    """A browser that has opened the link and set PASSWORD there."""
    browser = Client()
    form = browser.get(urlsplit(link).path, follow=True).redirect_chain[-1][0]
    browser.post(form, {"password1": PASSWORD, "password2": PASSWORD})
    return browser


def test_it_lets_staff_set_a_password_and_in() -> None:
    choose_password(create())
    assert Client().login(email="zoe@centre.example", password=PASSWORD)
    assert User.objects.get(name="Zoe Baker").roles == {Role.STAFF}
    assert AuditEvent.objects.filter(object_type="portal.membership").count() == 1


def test_the_address_counts_as_confirmed_then() -> None:
    choose_password(create())
    answer = Client().post("/accounts/login/", {"login": "zoe@centre.example", "password": PASSWORD})
    assert (answer.status_code, answer["Location"]) == (302, "/")


def test_the_link_begins_with_the_portals_address(settings: Settings) -> None:
    settings.SITE_URL = "https://portal.centre.example/"
    assert create().startswith("https://portal.centre.example/accounts/password/reset/key/")


def test_the_link_works_once() -> None:
    link = create()
    choose_password(link)
    page = Client().get(urlsplit(link).path)
    assert "password1" not in page.content.decode()


def test_nobody_logs_in_before_the_link_was_used() -> None:
    create()
    assert not User.objects.get().has_usable_password()


def test_twice_is_one_person_with_one_role() -> None:
    create()
    create("Zoe@Centre.example", "Zoe B.")
    assert User.objects.get().name == "Zoe Baker"
    assert Membership.objects.count() == 1


def test_somebody_who_is_known_becomes_staff_too(mei: User) -> None:
    create(mei.email, mei.name)
    assert User.objects.get(pk=mei.pk).roles == {Role.MEMBER, Role.STAFF}


@pytest.mark.parametrize(
    ("email", "name", "why"),
    [("zoe", "Zoe", "valid email"), ("zoe@centre.example", "", "blank"), ("z@c.example", "Z" * 151, "150")],
)
def test_it_says_what_is_wrong_and_makes_nobody(email: str, name: str, why: str) -> None:
    with pytest.raises(CommandError, match=why):
        create(email, name)
    assert not User.objects.exists()


def test_it_gives_nothing_to_who_was_switched_off(mei: User) -> None:
    User.objects.filter(pk=mei.pk).update(is_active=False)
    with pytest.raises(CommandError, match="switched off"):
        create(mei.email, mei.name)
    assert not Membership.objects.filter(role=Role.STAFF).exists()
