"""The pages of institutions and labs: what is in them, for whom, and how the centre and the institution keep them."""

from __future__ import annotations

import pytest
from django.utils import timezone

from portal.actions import institutions as actions
from portal.models import AuditEvent, Institution, Invitation, Lab, Project, Role, User
from tests.factories import (
    InstitutionFactory,
    InvitationFactory,
    JoinRequestFactory,
    LabFactory,
    MembershipFactory,
    ProjectFactory,
    UserFactory,
)
from tests.pages import assert_like_nowhere, browser, queries_of, words
from tests.portal.mailbox import delivered

NORTHLAKE = "/institutions/northlake/"


# ── Institutions ────────────────────────────────────────────────────────────


def test_everybody_sees_their_own_and_the_centre_all(
    northlake: Institution, southfield: Institution, mei: User, ada: User, sam: User, ann: User, fay: User
) -> None:
    for person in (mei, ada):
        page = words(browser(person).get("/institutions/"))
        assert "Northlake" in page and "Southfield" not in page
    for person in (sam, ann):
        page = words(browser(person).get("/institutions/"))
        assert "Northlake" in page and "Southfield" in page
    assert browser(fay).get("/institutions/").status_code == 403


def test_it_is_found_by_a_part_of_its_name(
    northlake: Institution, southfield: Institution, sam: User
) -> None:
    page = words(browser(sam).get("/institutions/?q=north+univ"))
    assert "Northlake" in page and "Southfield" not in page
    assert "No institution fits" in words(browser(sam).get("/institutions/?q=zzz"))


def test_its_page_has_labs_pis_and_admins(project: Project, mei: User, ivo: User, ada: User) -> None:
    page = words(browser(ada).get(NORTHLAKE))
    assert "Quantum Optics" in page and "Ivo Petrov" in page and "Ada Okafor" in page
    assert "1 lab works here." in page
    row = page[page.index("Quantum Optics") :]
    assert row.split("Ivo Petrov")[1].split()[:2] == ["2", "1"]  # people, projects


def test_a_member_sees_their_own_lab_only(northlake: Institution, mei: User) -> None:
    LabFactory.create(institution=northlake, name="Cold Atoms")
    page = words(browser(mei).get(NORTHLAKE))
    assert "Quantum Optics" in page and "Cold Atoms" not in page
    assert "You work in one of its labs." in page


def test_a_stranger_finds_nothing(northlake: Institution, optics: Lab, otto: User, fay: User) -> None:
    for stranger in (otto, fay):
        for url in (NORTHLAKE, f"{NORTHLAKE}edit/", f"{NORTHLAKE}labs/new/", f"/labs/{optics.pk}/"):
            assert_like_nowhere(browser(stranger), url)


def test_staff_register_one_and_invite_its_admin(sam: User) -> None:
    told = {"name": "Westhill College", "country": "NO", "mail_domain": "Westhill.example", "slug": "westhill",
            "account": "westhill", "admin": "dean@westhill.example"}  # fmt: skip
    answer = browser(sam).post("/institutions/register/", told, follow=True)
    assert "Westhill College is registered." in words(answer)
    assert "Norway" in words(answer)
    institution = Institution.objects.get()
    assert institution.mail_domain == "westhill.example"
    assert Invitation.objects.get().institution == institution
    assert delivered() == [("dean@westhill.example", "You are invited to Westhill College on Firefly")]
    assert AuditEvent.objects.about(institution).get().actor == sam


def test_staff_are_told_of_one_with_the_same_domain(northlake: Institution, sam: User) -> None:
    Institution.objects.update(mail_domain="northlake.example")
    told = {
        "name": "Northlake Clinic",
        "slug": "clinic",
        "account": "clinic",
        "mail_domain": "northlake.example",
    }
    answer = browser(sam).post("/institutions/register/", told, follow=True)
    assert "Northlake University has the mail domain northlake.example, too." in words(answer)


def test_staff_change_what_may_change(northlake: Institution, sam: User, ada: User) -> None:
    told = {"name": "Northlake Technical University", "country": "DE", "mail_domain": "northlake.example",
            "slug": "other", "account": "other"}  # fmt: skip
    assert browser(ada).post(f"{NORTHLAKE}edit/", told).status_code == 403
    browser(sam).post(f"{NORTHLAKE}edit/", told)
    northlake.refresh_from_db()
    assert (northlake.name, northlake.slug, northlake.account) == (
        "Northlake Technical University",
        "northlake",
        "northlake",
    )


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("name", "Southfield Institute", "registered already"),
        ("mail_domain", "gmail.com", "Anybody gets an address there"),
        ("country", "xx", "Choose one of the list"),
        ("name", "x" * 3000, "at most 200"),
    ],
)
def test_a_mistake_is_told_at_its_field(
    northlake: Institution, southfield: Institution, sam: User, field: str, value: str, sentence: str
) -> None:
    told = {"name": "Northlake University", "country": "DE", "mail_domain": "", field: value}
    page = browser(sam).post(f"{NORTHLAKE}edit/", told)
    assert sentence in str(page.context["form"].errors[field])


def test_no_institution_takes_the_place_of_a_page(sam: User) -> None:
    for slug in actions.RESERVED:
        told = {"name": "X", "slug": slug, "account": "x"}
        assert "is taken" in words(browser(sam).post("/institutions/register/", told))


def test_the_pages_take_the_same_queries_whatever_the_size(
    northlake: Institution, ada: User, sam: User
) -> None:
    def grow(number: int) -> None:
        for lab in LabFactory.create_batch(number, institution=northlake):
            MembershipFactory.create(lab=lab, role=Role.PI)
            ProjectFactory.create(lab=lab)
            InvitationFactory.create(role=Role.INSTITUTION_ADMIN, institution=northlake)
        InstitutionFactory.create_batch(number)

    grow(1)
    client = browser(sam)
    few = [queries_of(client, url) for url in ("/institutions/", NORTHLAKE)]
    grow(30)
    assert [queries_of(client, url) for url in ("/institutions/", NORTHLAKE)] == few
    assert max(few) <= 15


# ── Labs ────────────────────────────────────────────────────────────────────


def test_an_institution_admin_makes_a_lab_and_its_pi_is_invited(northlake: Institution, ada: User) -> None:
    told = {"name": "Cold Atoms", "slug": "", "pi": "lena@northlake.example"}
    answer = browser(ada).post(f"{NORTHLAKE}labs/new/", told, follow=True)
    lab = Lab.objects.get()
    assert answer.redirect_chain[-1][0] == f"/labs/{lab.pk}/"
    assert "lena@northlake.example is invited to lead it" in words(answer)
    assert (lab.slug, lab.account) == ("cold-atoms", "northlake-cold-atoms")
    invitation = Invitation.objects.get()
    assert (invitation.lab, invitation.role) == (lab, Role.PI)


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("name", "", "Type the lab's name"),
        ("slug", "optics", "is taken"),
        ("slug", "Ü!", "letters, digits and dashes"),
        ("pi", "", "A lab has a PI"),
        ("pi", "lena", "valid email address"),
    ],
)
def test_a_mistake_in_a_lab_is_told_at_its_field(
    optics: Lab, ada: User, field: str, value: str, sentence: str
) -> None:
    told = {"name": "Cold Atoms", "slug": "atoms", "pi": "lena@northlake.example", field: value}
    page = browser(ada).post(f"{NORTHLAKE}labs/new/", told)
    assert sentence in " ".join(page.context["form"].errors[field])


def test_a_chinese_name_needs_a_short_one(northlake: Institution, ada: User) -> None:
    told = {"name": "量子光学", "slug": "", "pi": "lena@northlake.example"}
    assert "in Latin letters" in words(browser(ada).post(f"{NORTHLAKE}labs/new/", told))


def test_a_pi_makes_no_lab(northlake: Institution, ivo: User) -> None:
    answer = browser(ivo).get(f"{NORTHLAKE}labs/new/")
    assert answer.status_code == 403
    assert "Only the institution's admins" in words(answer)


def test_a_labs_page_has_its_people_and_projects(project: Project, optics: Lab, mei: User, ivo: User) -> None:
    InvitationFactory.create(lab=optics, email="kofi@northlake.example")
    page = words(browser(ivo).get(f"/labs/{optics.pk}/"))
    for word in (
        "Mei Lin",
        "lab member",
        "Ivo Petrov",
        "PI",
        "Squeezed light",
        "kofi@northlake.example",
        "Send again",
    ):
        assert word in page
    assert "2 people work here." in page
    for_member = words(browser(mei).get(f"/labs/{optics.pk}/"))
    assert "Ivo Petrov" in for_member
    assert "kofi@northlake.example" not in for_member and "Invite" not in for_member


def test_it_offers_what_one_may_do(optics: Lab, ivo: User, ada: User, mei: User) -> None:
    def offered(who: User) -> set[str]:
        page = words(browser(who).get(f"/labs/{optics.pk}/"))
        return {
            word for word in ("Propose a project", "Change role", "Move", "Close the lab") if word in page
        }

    assert offered(ada) == {"Propose a project", "Change role", "Move", "Close the lab"}
    assert offered(ivo) == {"Propose a project", "Change role"}
    assert not offered(mei)


def test_who_left_is_not_on_it(optics: Lab, ivo: User) -> None:
    MembershipFactory.create(user=UserFactory.create(name="Long Gone"), lab=optics, ended_at=timezone.now())
    assert "Long Gone" not in words(browser(ivo).get(f"/labs/{optics.pk}/"))


def test_a_closed_lab_invites_nobody(optics: Lab, ivo: User) -> None:
    Lab.objects.update(closed_at=timezone.now())
    page = words(browser(ivo).get(f"/labs/{optics.pk}/"))
    assert "Closed on" in page and "Invite" not in page


def test_a_labs_page_takes_the_same_queries_whatever_the_size(optics: Lab, ivo: User) -> None:
    def grow(number: int) -> None:
        for _n in range(number):
            MembershipFactory.create(lab=optics)
            ProjectFactory.create(lab=optics)
            InvitationFactory.create(lab=optics)
            JoinRequestFactory.create(lab=optics)

    grow(1)
    client = browser(ivo)
    few = queries_of(client, f"/labs/{optics.pk}/")
    grow(30)
    assert queries_of(client, f"/labs/{optics.pk}/") == few <= 15
