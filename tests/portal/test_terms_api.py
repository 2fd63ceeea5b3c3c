"""Terms for programs: the versions, what they say, publishing and accepting, by the pages' rules."""

from __future__ import annotations

from portal.models import Terms, TermsAcceptance, User
from tests.factories import TermsFactory
from tests.pages import browser

ALL = "/api/v1/terms/"
NEW = {"kind": "use", "text_en": "Be kind.", "text_zh_hans": "友善。"}


def test_staff_publish_a_version_and_it_is_the_one_in_force(sam: User, mei: User) -> None:
    before = TermsFactory.create()
    made = browser(sam).post(ALL, NEW, "application/json")
    assert (made.status_code, made.json()["version"], made.json()["in_force"]) == (
        201,
        before.version + 1,
        True,
    )
    told = browser(mei).get(ALL).json()["results"]
    assert [(one["version"], one["in_force"]) for one in told] == [
        (before.version + 1, True),
        (before.version, False),
    ]
    assert "text_en" not in told[0]
    assert browser(mei).get(f"{ALL}{made.json()['id']}/").json()["text_en"] == "Be kind."


def test_one_accepts_the_version_in_force_and_no_older_one(mei: User) -> None:
    old = TermsFactory.create()
    latest = TermsFactory.create(version=old.version + 1)
    assert browser(mei).post(f"{ALL}{old.pk}/accept/", {}, "application/json").status_code == 409
    answer = browser(mei).post(f"{ALL}{latest.pk}/accept/", {}, "application/json")
    assert answer.status_code == 200
    assert answer.json()["accepted_at"]
    assert TermsAcceptance.objects.get().user == mei
    assert Terms.objects.unaccepted_by(mei) is None


def test_what_others_accepted_is_not_told(mei: User, otto: User) -> None:
    terms = TermsFactory.create()
    browser(mei).post(f"{ALL}{terms.pk}/accept/", {}, "application/json")
    assert browser(otto).get(f"{ALL}{terms.pk}/").json()["accepted_at"] is None


def test_a_text_without_its_other_language_is_refused(sam: User, ivo: User) -> None:
    answer = browser(sam).post(ALL, NEW | {"text_zh_hans": " "}, "application/json")
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["text_zh_hans"])
    assert browser(ivo).post(ALL, NEW, "application/json").status_code == 403
    assert not Terms.objects.exists()
