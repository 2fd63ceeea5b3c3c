"""People and places for programs: the same sight, the same actions, problem documents."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from portal.models import Institution, Invitation, JoinRequest, Lab, Membership, OutgoingMail, User
from tests.factories import InvitationFactory, JoinRequestFactory, UserFactory
from tests.pages import browser, queries_of

NEW = "kofi@northlake.example"


def post(client: Client, path: str, **body: Any) -> Any:
    return client.post(f"/api/v1/{path}", body, content_type="application/json")


def slugs(user: User, path: str, key: str) -> set[Any]:
    return {row[key] for row in browser(user).get(f"/api/v1/{path}").json()["results"]}


def test_each_sees_their_own(
    optics: Lab, folding: Lab, mei: User, ada: User, sam: User, fay: User, otto: User
) -> None:
    for person in (mei, ada):
        assert slugs(person, "institutions/", "slug") == {"northlake"}
        assert slugs(person, "labs/", "id") == {optics.pk}
    assert slugs(sam, "institutions/", "slug") == {"northlake", "southfield"}
    assert slugs(fay, "institutions/", "slug") == set()
    assert slugs(mei, "memberships/", "person") == {"Mei Lin"}
    assert "Otto Brandt" in slugs(sam, "memberships/", "person")


def test_staff_register_an_institution(sam: User) -> None:
    told = {"name": "Westhill College", "slug": "westhill", "account": "westhill"}
    answer = post(browser(sam), "institutions/", **told, mail_domain="gmail.com")
    assert answer.status_code == 400
    assert list(answer.json()["errors"]) == ["mail_domain"]
    assert post(browser(sam), "institutions/", **told, admin=NEW).status_code == 201
    assert Invitation.objects.get().institution == Institution.objects.get()


def test_an_institution_admin_makes_a_lab(northlake: Institution, ada: User) -> None:
    answer = post(browser(ada), "labs/", institution="northlake", name="Cold Atoms", pi=NEW)
    assert answer.status_code == 201
    assert answer.json()["account"] == "northlake-cold-atoms"
    again = post(browser(ada), "labs/", institution="northlake", name="Cold Atoms", pi=NEW)
    assert list(again.json()["errors"]) == ["slug"]


def test_a_pi_invites_sends_again_and_revokes(optics: Lab, ivo: User) -> None:
    program = browser(ivo)
    made = post(program, "invitations/", email=NEW, role="member", lab=optics.pk)
    assert made.status_code == 201
    assert "nonce" not in made.json()
    assert post(program, "invitations/", email=NEW, role="member", lab=optics.pk).status_code == 409
    number = made.json()["id"]
    assert post(program, f"invitations/{number}/again/").status_code == 200
    assert post(program, f"invitations/{number}/revoke/").json()["is_open"] is False
    assert post(program, f"invitations/{number}/again/").status_code == 409
    assert OutgoingMail.objects.count() == 2


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"role": "staff", "lab": True}, "role"),
        ({"role": "member"}, "role"),
        ({"role": "member", "lab": True, "institution": "northlake"}, "non_field_errors"),
        ({"role": "institution_admin", "institution": "southfield"}, "institution"),
        ({"role": "member", "lab": False}, "lab"),
    ],
)
def test_a_role_needs_its_place(
    optics: Lab, folding: Lab, ivo: User, body: dict[str, Any], field: str
) -> None:
    if "lab" in body:
        body = body | {"lab": optics.pk if body["lab"] else folding.pk}
    answer = post(browser(ivo), "invitations/", email=NEW, **body)
    assert (answer.status_code, [*answer.json()["errors"]]) == (400, [field])


def test_a_role_in_the_centre_is_not_a_pi_s_to_give(optics: Lab, ivo: User) -> None:
    answer = post(browser(ivo), "invitations/", email=NEW, role="approver")
    assert answer.status_code == 403
    assert "Only the centre's staff invite" in answer.json()["detail"]


def test_a_strangers_lab_is_like_none(folding: Lab, ivo: User) -> None:
    for path, more in (("invitations/", {"email": NEW, "role": "member"}), ("invitations/many/", {"people": [{"email": NEW}]}),
                       ("join-requests/", {})):  # fmt: skip
        foreign, nothing = (post(browser(ivo), path, lab=pk, **more) for pk in (folding.pk, 10**9))
        assert foreign.status_code == 400
        assert foreign.content.replace(str(folding.pk).encode(), b"") == nothing.content.replace(
            b"1000000000", b""
        )


def test_many_are_looked_through_first(optics: Lab, ivo: User, mei: User) -> None:
    people = [{"email": NEW, "name": "Kofi"}, {"email": mei.email}, {"email": "nonsense"}]
    tried = post(browser(ivo), "invitations/many/", lab=optics.pk, people=people)
    assert [line["fate"] for line in tried.json()] == ["new", "member", "invalid"]
    assert not Invitation.objects.exists()
    post(browser(ivo), "invitations/many/", lab=optics.pk, people=people, dry_run=False)
    assert Invitation.objects.get().email == NEW


def test_too_many_are_refused(optics: Lab, ivo: User) -> None:
    people = [{"email": f"n{n}@x.example"} for n in range(201)]
    assert post(browser(ivo), "invitations/many/", lab=optics.pk, people=people).status_code == 400


def test_asking_and_answering(northlake: Institution, optics: Lab, ivo: User) -> None:
    Institution.objects.update(mail_domain="northlake.example")
    rosa = UserFactory.create(email="rosa@northlake.example")
    made = post(browser(rosa), "join-requests/", lab=optics.pk, message="Hello.")
    assert made.status_code == 201
    assert post(browser(rosa), "join-requests/", lab=optics.pk).status_code == 409
    number = made.json()["id"]
    assert post(browser(rosa), f"join-requests/{number}/accept/").status_code == 403
    assert post(browser(ivo), f"join-requests/{number}/accept/").json()["state"] == "accepted"
    assert post(browser(ivo), f"join-requests/{number}/decline/").status_code == 409
    assert Membership.objects.filter(user=rosa, lab=optics).exists()
    assert JoinRequest.objects.get().decided_at


@pytest.mark.parametrize("path", ["institutions/", "labs/", "memberships/", "invitations/", "join-requests/"])
def test_the_lists_take_the_same_queries_whatever_the_size(optics: Lab, sam: User, path: str) -> None:
    def grow(number: int) -> None:
        InvitationFactory.create_batch(number, lab=optics)
        for asked in JoinRequestFactory.create_batch(number):
            Membership.objects.create(user=asked.user, lab=asked.lab, role="member")

    grow(1)
    client = browser(sam)
    few = queries_of(client, f"/api/v1/{path}")
    grow(30)
    assert queries_of(client, f"/api/v1/{path}") == few <= 15


def test_staff_change_an_institution_and_what_is_not_given_stays(
    northlake: Institution, sam: User, ada: User
) -> None:
    url, told = "/api/v1/institutions/northlake/", {"name": "Northlake Technical University"}
    answer = browser(sam).patch(url, told, content_type="application/json")
    assert (answer.status_code, answer.json()["name"]) == (200, told["name"])
    assert answer.json()["country"] == northlake.country
    refused = browser(sam).patch(url, {"country": "Atlantis"[:2]}, content_type="application/json")
    assert list(refused.json()["errors"]) == ["country"]
    renamed = browser(sam).patch(url, {"slug": "elsewhere"}, content_type="application/json")
    assert list(renamed.json()["errors"]) == ["slug"]
    assert browser(ada).patch(url, told, content_type="application/json").status_code == 403
