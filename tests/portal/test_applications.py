"""An institution applies: the form, the link that confirms the address, and the centre's answer."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client
from django.utils import timezone

from portal.actions import applications as actions
from portal.models import (
    AuditEvent,
    Institution,
    InstitutionApplication,
    Invitation,
    OutgoingMail,
    Role,
    Terms,
    User,
)
from portal.transitions import Overtaken
from tests.factories import ApplicationFactory, InstitutionFactory, TermsFactory
from tests.pages import browser, queries_of, words
from tests.portal.mailbox import delivered, link_to

pytestmark = pytest.mark.django_db
APPLY = "/institutions/apply/"
LIST = "/institutions/applications/"
NORA = "nora@eastbrook.example"


def typed(**other: str) -> dict[str, str]:
    return {
        "name": "Eastbrook Medical University",
        "country": "CN",
        "mail_domain": "eastbrook.example",
        "contact_name": "Nora Lindqvist",
        "contact_email": NORA,
        "purpose": "Segmenting CT scans.",
    } | other


def names(**other: str) -> dict[str, str]:
    return {
        "name": "Eastbrook Medical University",
        "country": "CN",
        "mail_domain": "eastbrook.example",
        "slug": "eastbrook",
        "account": "eastbrook",
    } | other


# ── The form ────────────────────────────────────────────────────────────────


def test_the_log_in_page_leads_to_it(client: Client) -> None:
    assert APPLY in client.get("/accounts/login/").content.decode()


def test_it_is_seen_by_the_centre_once_its_contact_confirmed(client: Client, sam: User) -> None:
    answer = client.post(APPLY, typed(), follow=True)
    assert "Look into your mail" in words(answer)
    assert delivered() == [(NORA, "Confirm your address for Firefly")]
    assert "Eastbrook" not in words(browser(sam).get(LIST))
    link = link_to(NORA)
    assert "Eastbrook Medical University" in words(client.get(link))
    assert InstitutionApplication.objects.get().state == "unconfirmed"  # a mail scanner opens links, too
    assert "The centre has your application" in words(client.post(link))
    assert delivered() == [("sam@example.org", "Eastbrook Medical University asks to be registered")]
    assert "Eastbrook Medical University" in words(browser(sam).get(LIST))


def test_what_a_stranger_typed_goes_to_nobody_s_mailbox(client: Client) -> None:
    """Or the portal would send anybody's words to anybody."""
    client.post(APPLY, typed(name="Win a prize", contact_name="Click here", purpose="spam"))
    kept = str(OutgoingMail.objects.get().context)
    assert not any(word in kept for word in ("Win a prize", "Click here", "spam"))


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("name", "", "Type its full name"),
        ("name", "See http://evil.example", "without a web address"),
        ("country", "", "Choose one"),
        ("country", "XX", "Choose one of the list"),
        ("mail_domain", "gmail.com", "Anybody gets an address there"),
        ("mail_domain", "nonsense", "behind the @"),
        ("contact_name", "a\0b", "Null characters are not allowed"),
        ("contact_email", "nora@elsewhere.example", "not in the mail domain above"),
        ("contact_email", "nora", "valid email address"),
        ("purpose", "", "Say what your institution wants to compute"),
    ],
)
def test_a_mistake_is_told_at_its_field(client: Client, field: str, value: str, sentence: str) -> None:
    answer = client.post(APPLY, typed(**{field: value}))
    assert answer.status_code == 200
    assert any(sentence in error for error in answer.context["form"].errors[field])
    assert not InstitutionApplication.objects.exists()
    kept = "purpose" if field != "purpose" else "contact_name"
    assert typed()[kept] in answer.content.decode()


def test_the_agreement_in_force_is_shown_and_must_be_ticked(client: Client) -> None:
    agreement = TermsFactory.create(kind=Terms.Kind.AGREEMENT, text_en="You answer for your people.")
    assert "You answer for your people." in words(client.get(APPLY))
    assert "can't be registered without it" in words(client.post(APPLY, typed()))
    newer = TermsFactory.create(kind=Terms.Kind.AGREEMENT, version=2)
    stale = client.post(APPLY, typed(agreement=str(agreement.pk)))
    assert "has changed meanwhile" in words(stale)
    client.post(APPLY, typed(agreement=str(newer.pk)))
    assert InstitutionApplication.objects.get().agreement == newer


def test_the_answer_does_not_tell_who_applied_or_is_registered(client: Client) -> None:
    InstitutionFactory.create(name="Eastbrook Medical University", mail_domain="eastbrook.example")
    answers = {words(client.post(APPLY, typed(), follow=True)) for _n in range(5)}
    assert len(answers) == 1


def test_an_address_gets_three_mails_a_day(client: Client) -> None:
    for _n in range(5):
        client.post(APPLY, typed())
    assert len(delivered()) == 3
    with time_machine.travel(timezone.now() + timedelta(days=1, minutes=1), tick=False):
        client.post(APPLY, typed())
        assert len(delivered()) == 1


def test_a_domain_gets_no_flood(client: Client) -> None:
    for n in range(25):
        client.post(APPLY, typed(contact_email=f"someone{n}@eastbrook.example"))
    assert InstitutionApplication.objects.count() == actions.MOST_OF_DOMAIN


def test_the_button_pressed_twice_is_pressed_once(client: Client, sam: User) -> None:
    application = ApplicationFactory.create(state=InstitutionApplication.State.UNCONFIRMED)
    stale = InstitutionApplication.objects.get()
    actions.confirm(application=application)
    with pytest.raises(Overtaken):
        actions.confirm(application=stale)
    assert [to for to, _subject in delivered()] == [sam.email]


@pytest.mark.parametrize("state", ["waiting", "accepted", "declined"])
def test_a_link_works_once(client: Client, state: str) -> None:
    client.post(APPLY, typed())
    link = link_to(NORA)
    InstitutionApplication.objects.update(state=state)
    gone, forged = client.post(link), client.post("/institutions/apply/abc:forged/")
    assert (gone.status_code, forged.status_code) == (410, 410)
    assert words(gone) == words(forged)


def test_a_link_works_for_seven_days(client: Client) -> None:
    client.post(APPLY, typed())
    link = link_to(NORA)
    with time_machine.travel(timezone.now() + timedelta(days=8), tick=False):
        assert "no longer works" in words(client.get(link))


# ── The centre's answer ─────────────────────────────────────────────────────


@pytest.fixture
def asked() -> InstitutionApplication:
    return ApplicationFactory.create(
        name="Eastbrook Medical University", mail_domain="eastbrook.example", contact_email=NORA
    )


def test_accepting_registers_it_and_invites_the_contact(asked: InstitutionApplication, sam: User) -> None:
    page = browser(sam).get(f"{LIST}{asked.pk}/")
    assert 'value="eastbrook"' in page.content.decode()
    answer = browser(sam).post(f"{LIST}{asked.pk}/accept/", names(), follow=True)
    assert "is registered, and nora@eastbrook.example is invited" in words(answer)
    institution = Institution.objects.get(slug="eastbrook")
    assert (institution.country, institution.mail_domain) == ("CN", "eastbrook.example")
    asked.refresh_from_db()
    assert (asked.state, asked.institution) == ("accepted", institution)
    invitation = Invitation.objects.get()
    assert (invitation.email, invitation.role) == (NORA, Role.INSTITUTION_ADMIN)
    assert AuditEvent.objects.about(asked).filter(actor=sam).exists()
    assert delivered() == [(NORA, "You are invited to Eastbrook Medical University on Firefly")]


def test_declining_tells_the_contact_why(asked: InstitutionApplication, sam: User) -> None:
    url = f"{LIST}{asked.pk}/decline/"
    assert "Say why, so that they understand" in words(browser(sam).post(url, {"comment": ""}))
    browser(sam).post(url, {"comment": "No GPUs are left this year."})
    assert delivered() == [(NORA, "Your application to Firefly")]
    assert "No GPUs are left this year." in words(browser(sam).get(f"{LIST}{asked.pk}/"))


def test_two_colleagues_decide_once(asked: InstitutionApplication, sam: User) -> None:
    browser(sam).post(f"{LIST}{asked.pk}/decline/", {"comment": "No."})
    answer = browser(sam).post(f"{LIST}{asked.pk}/accept/", names(), follow=True)
    assert "Somebody was faster" in words(answer)
    assert not Institution.objects.exists()
    assert not Invitation.objects.exists()


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("slug", "applications", "is taken"),
        ("slug", "northlake", "is taken"),
        ("account", "northlake", "belongs to another institution"),
        ("account", "East Brook", "lower-case letters"),
        ("name", "northlake UNIVERSITY", "registered already"),
    ],
)
def test_a_name_that_is_taken_is_told_at_its_field(
    asked: InstitutionApplication, sam: User, northlake: Institution, field: str, value: str, sentence: str
) -> None:
    answer = browser(sam).post(f"{LIST}{asked.pk}/accept/", names(**{field: value}))
    assert answer.status_code == 200
    assert sentence in str(answer.context["form"].errors[field])


def test_a_second_one_is_pointed_out(asked: InstitutionApplication, sam: User) -> None:
    InstitutionFactory.create(name="Eastbrook", slug="eastbrook", mail_domain="eastbrook.example")
    ApplicationFactory.create(name="Eastbrook Clinic", mail_domain="eastbrook.example")
    page = browser(sam).get(f"{LIST}{asked.pk}/")
    assert "This may be a second one" in words(page)
    assert "Eastbrook Clinic" in words(page)
    assert 'value="eastbrook-2"' in page.content.decode()  # what is free is proposed


def test_only_the_centre_s_staff_see_applications(
    asked: InstitutionApplication, ada: User, ann: User
) -> None:
    for person in (ada, ann):
        for url in (LIST, f"{LIST}{asked.pk}/"):
            answer = browser(person).get(url)
            assert answer.status_code == 403
            assert "Only the centre's staff register institutions" in words(answer)


def test_staff_have_it_on_home(asked: InstitutionApplication, sam: User, ada: User) -> None:
    assert "1 institution asks to be registered" in words(browser(sam).get("/"))
    assert "asks to be registered" not in words(browser(ada).get("/"))


def test_the_list_takes_the_same_queries_whatever_the_size(sam: User) -> None:
    client = browser(sam)
    ApplicationFactory.create()
    few = queries_of(client, LIST)
    ApplicationFactory.create_batch(30)
    assert queries_of(client, LIST) == few <= 15


def test_the_form_survives_being_asked_oddly(client: Client) -> None:
    odd: dict[str, Any] = {"name": ["a", "b"], "agreement": "1", "unknown": "x"}
    assert client.post(APPLY, odd).status_code == 200
