"""The people page shows the people of my labs or my institution; the centre's, everybody."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from portal.models import Funder, Institution, Lab, Membership, Role, User
from tests.factories import MembershipFactory, UserFactory
from tests.pages import browser, queries_of, words

URL = "/people/"


def test_a_member_sees_the_lab(mei: User, ivo: User, ada: User, otto: User) -> None:
    page = words(browser(mei).get(URL))
    assert "Ivo Petrov" in page and "Mei Lin" in page
    assert "Ada Okafor" not in page and "Otto" not in page


def test_an_institution_admin_sees_its_labs(ada: User, mei: User, otto: User) -> None:
    page = words(browser(ada).get(URL))
    assert "Mei Lin" in page and "Ada Okafor" in page
    assert "Otto" not in page


def test_staff_see_everybody(sam: User, mei: User, otto: User, fay: User) -> None:
    page = words(browser(sam).get(URL))
    assert all(name in page for name in ("Mei Lin", "Otto Brandt", "Fay Moreau", "Sam Weber"))


def test_a_funder_sees_nobody(fay: User, mei: User) -> None:
    answer = browser(fay).get(URL)
    assert answer.status_code == 403
    assert "Funders read totals" in words(answer)
    assert "Mei" not in words(answer)


def test_who_left_is_not_shown(ivo: User, optics: Lab) -> None:
    left = UserFactory.create(name="Left Long Ago")
    membership = MembershipFactory.create(user=left, lab=optics)
    membership.ended_at = membership.started_at
    membership.save()
    assert "Left Long Ago" not in words(browser(ivo).get(URL))


@pytest.mark.parametrize("place", ["lab", "institution", "funder", "nowhere"])
def test_a_role_is_held_once_in_a_place(
    place: str, optics: Lab, northlake: Institution, fund: Funder, mei: User
) -> None:
    places: dict[str, dict[str, Any]] = {
        "lab": {"role": Role.PI, "lab": optics},
        "institution": {"role": Role.INSTITUTION_ADMIN, "institution": northlake},
        "funder": {"role": Role.FUNDER, "funder": fund},
        "nowhere": {"role": Role.STAFF},
    }
    where = places[place]
    MembershipFactory.create(user=mei, **where)
    with pytest.raises(IntegrityError), transaction.atomic():
        MembershipFactory.create(user=mei, **where)
    Membership.objects.filter(user=mei).update(ended_at=timezone.now())
    MembershipFactory.create(user=mei, **where)


def test_it_searches_by_name_and_role(sam: User, mei: User, ivo: User, otto: User) -> None:
    found = words(browser(sam).get(URL, {"q": "quantum lin"}))
    assert "Mei Lin" in found and "Ivo" not in found
    found = words(browser(sam).get(URL, {"role": Role.PI}))
    assert "Ivo Petrov" in found and "Otto" not in found
    assert "Nobody fits that search" in words(browser(sam).get(URL, {"q": "zzz"}))


@pytest.mark.parametrize(
    "query", ["q=%00", "q=" + "x" * 3000, "role=boss", "page=-1", "page=abc", "page=99999999999999999999"]
)
def test_odd_searches_still_answer(sam: User, query: str) -> None:
    assert browser(sam).get(f"{URL}?{query}").status_code == 200


def test_more_people_take_no_more_queries(ivo: User, optics: Lab) -> None:
    few = queries_of(browser(ivo), URL)
    for _ in range(12):
        MembershipFactory.create(lab=optics)
    assert queries_of(browser(ivo), URL) == few


def test_words_of_a_person_and_of_a_place_fit_together(
    sam: User, mei: User, ivo: User, otto: User, optics: Lab
) -> None:
    client = browser(sam)
    for words_typed in ("lin quantum", "QUANTUM mei", "northlake lin"):
        page = words(client.get(URL, {"q": words_typed}))
        assert "Mei Lin" in page and "Ivo Petrov" not in page and "Otto" not in page
    # One role has to fit all: in her second lab she is the same person, but not of Quantum Optics.
    page = words(client.get(URL, {"q": "mei folding"}))
    assert "Mei Lin" not in page


def test_many_words_take_no_more_queries(sam: User, mei: User) -> None:
    client = browser(sam)
    assert queries_of(client, f"{URL}?q=mei") == queries_of(
        client, f"{URL}?q=mei+lin+quantum+north+lake+optics"
    )


def test_whoever_has_no_role_sees_oneself(db: None, mei: User) -> None:
    alone = UserFactory.create()
    assert [*User.objects.visible_to(alone)] == [alone]


def test_an_admin_sees_who_was_there_before(ada: User, mei: User, otto: User) -> None:
    Membership.objects.filter(user=mei).update(ended_at=timezone.now())
    assert {*User.objects.visible_to(ada)} == {ada, mei}
