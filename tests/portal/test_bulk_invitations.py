"""Thirty addresses at once: first what would happen, line by line, then the same for real."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone

from portal import pasted
from portal.models import Invitation, Lab, OutgoingMail, Role, User
from portal.pasted import Pasted
from tests.factories import InvitationFactory
from tests.pages import browser, words

# ── Reading ─────────────────────────────────────────────────────────────────


def test_addresses_are_read_as_people_have_them() -> None:
    text = 'a@x.example\n\nb@x.example, c@x.example;d@x.example\nMei Lin <e@x.example>; "Lin, Mei" <f@x.example>\nnonsense'
    assert pasted.read(text) == [
        Pasted(1, "a@x.example"),
        Pasted(3, "b@x.example"),
        Pasted(3, "c@x.example"),
        Pasted(3, "d@x.example"),
        Pasted(4, "e@x.example", "Mei Lin"),
        Pasted(4, "f@x.example", "Lin, Mei"),
        Pasted(5, "nonsense"),
    ]


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_a_table_is_read_by_its_headings(mark: str) -> None:
    rows = [["Name", "E-Mail", "Role"], ["Mei Lin", "a@x.example", "PI"], [], ["", "b@x.example"]]
    text = "\n".join(mark.join(row) for row in rows)
    assert pasted.read(text) == [Pasted(2, "a@x.example", "Mei Lin", "PI"), Pasted(4, "b@x.example")]


@pytest.mark.parametrize(
    "text", ["", "\n\n", "email", '"', "<>", ",;,", '"email\n"', "email,\0", "a" * 200_000, "<" * 5000]
)
def test_nothing_is_too_odd_to_be_read(text: str) -> None:
    pasted.read(text)


# ── The page ────────────────────────────────────────────────────────────────

LIST = """email,name,role
new@northlake.example,New Person,
lead@northlake.example,,PI
mei@example.org,Mei,
invited@northlake.example,,
NEW@northlake.example,,
nonsense,,
other@northlake.example,,staff
"""
FATES = {
    "new@northlake.example": "will be invited",
    "lead@northlake.example": "will be invited",
    "mei@example.org": "in the lab already",
    "invited@northlake.example": "invited already",
    "nonsense": "can't be invited This is no e-mail address.",
    "other@northlake.example": "can't be invited There is no such role in a lab",
}


@pytest.fixture
def url(optics: Lab, mei: User) -> str:
    InvitationFactory.create(lab=optics, email="invited@northlake.example")
    return f"/labs/{optics.pk}/invite/many/"


def test_the_dry_run_says_what_would_happen_and_sends_nothing(url: str, ivo: User) -> None:
    page = words(browser(ivo).post(url, {"people": LIST, "role": "member"}))
    for address, fate in FATES.items():
        assert address in page and fate in page
    assert "stands above already" in page
    assert "Send 2 invitations" in page
    assert Invitation.objects.count() == 1
    assert not OutgoingMail.objects.exists()


def test_confirmed_it_does_what_it_said(url: str, ivo: User) -> None:
    answer = browser(ivo).post(url, {"people": LIST, "role": "member", "confirm": "1"}, follow=True)
    assert "2 invitations are on their way. 5 lines were left out." in words(answer)
    new = Invitation.objects.exclude(email="invited@northlake.example")
    assert {*new.values_list("email", "role")} == {
        ("new@northlake.example", Role.MEMBER),
        ("lead@northlake.example", Role.PI),
    }
    assert OutgoingMail.objects.count() == 2
    assert OutgoingMail.objects.get(to="new@northlake.example").context["person"] == "New Person"


def test_confirmed_twice_it_invites_once(url: str, ivo: User) -> None:
    for _n in range(2):
        browser(ivo).post(url, {"people": LIST, "role": "member", "confirm": "1"})
    assert OutgoingMail.objects.count() == 2


def test_a_closed_lab_takes_nobody(url: str, ivo: User, optics: Lab) -> None:
    Lab.objects.update(closed_at=timezone.now())
    answer = browser(ivo).post(url, {"people": LIST, "role": "member", "confirm": "1"}, follow=True)
    assert "Quantum Optics is closed" in words(answer)
    assert not OutgoingMail.objects.exists()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_a_file_is_read_in_the_encodings_of_spreadsheets(url: str, ivo: User, encoding: str) -> None:
    file = SimpleUploadedFile("people.csv", "邮箱,姓名\nwei@northlake.example,王伟\n".encode(encoding))
    page = browser(ivo).post(url, {"file": file, "people": "", "role": "member"})
    assert "wei@northlake.example王伟" in words(page).replace(" ", "")
    assert "wei@northlake.example,王伟" in page.content.decode()  # to send it again, confirmed


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("people", "", "Paste the addresses"),
        ("people", "a\0b", "Null characters"),
        ("people", "\n".join(f"n{n}@x.example" for n in range(201)), "At most 200 at once; there are 201."),
        ("role", "staff", "Choose one of the roles"),
        ("file", SimpleUploadedFile("x.csv", b"a\0b,c"), "This file is no text"),
        ("file", SimpleUploadedFile("x.csv", b"x" * 300_000), "too large"),
        ("file", SimpleUploadedFile("x.csv", b"\xff\xff\xff"), "This file is no text"),
    ],
)
def test_a_mistake_is_told_at_its_field(url: str, ivo: User, field: str, value: Any, sentence: str) -> None:
    page = browser(ivo).post(url, {"people": "", "role": "member", "confirm": "1", field: value})
    assert page.status_code == 200
    assert sentence in str(page.context["form"].errors)
    assert Invitation.objects.count() == 1


def test_what_is_pasted_is_shown_as_text(url: str, ivo: User) -> None:
    page = browser(ivo).post(url, {"people": "<script>alert(1)</script>", "role": "member"})
    assert "<script>alert" not in page.content.decode()


def test_a_member_can_not(url: str, mei: User) -> None:
    answer = browser(mei).post(url, {"people": LIST, "role": "member", "confirm": "1"})
    assert answer.status_code == 403
    assert "Ask your PI to invite" in words(answer)


def test_two_hundred_lines_take_few_queries_to_look_through(
    url: str, ivo: User, django_assert_max_num_queries: Any
) -> None:
    client = browser(ivo)
    text = "\n".join(f"n{n}@x.example" for n in range(200))
    with django_assert_max_num_queries(12):
        client.post(url, {"people": text, "role": "member"})
