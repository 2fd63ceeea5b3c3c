"""Which domain is an institution's, and who is in it."""

from __future__ import annotations

import pytest
from allauth.account.models import EmailAddress
from django.core.exceptions import ValidationError
from django.utils import translation

from portal import countries
from portal.mail_domains import check_domain, is_in, short_name_of, verified_domains
from tests.factories import UserFactory


@pytest.mark.parametrize(
    "typed", ["northlake.example", " @Northlake.Example. ", "cs.northlake.ac.uk", "a.cn"]
)
def test_an_institutions_own_is_taken(typed: str) -> None:
    assert check_domain(typed) == typed.strip().lower().strip("@.")


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("gmail.com", "Anybody gets an address there"),
        ("QQ.com", "Anybody gets an address there"),
        ("ac.uk", "Many institutions are below"),
        ("edu.cn", "Many institutions are below"),
        ("localhost", "behind the @"),
        ("127.0.0.1", "behind the @"),
        ("-x.example", "behind the @"),
        ("a..example", "behind the @"),
        ("mei@northlake.example", "behind the @"),
        ("北湖.example", "behind the @"),
        ("x" * 3000 + ".example", "behind the @"),
        ("", "behind the @"),
    ],
)
def test_others_are_refused_in_words(typed: str, why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        check_domain(typed)


def test_a_department_is_in_its_university_and_a_look_alike_is_not() -> None:
    assert is_in("mei@CS.northlake.example", "northlake.example")
    assert not is_in("mei@notnorthlake.example", "northlake.example")
    assert not is_in("mei@northlake.example.com", "northlake.example")


@pytest.mark.django_db
def test_an_address_vouches_for_its_domain_and_those_above() -> None:
    def vouched(email: str, **more: bool) -> frozenset[str]:
        return verified_domains(UserFactory.create(email=email, **more))

    assert vouched("mei@cs.northlake.example") == {"cs.northlake.example", "northlake.example"}
    assert vouched("mei@x.ac.uk") == {"x.ac.uk"}
    assert vouched("mei@gmail.com") == frozenset()
    assert vouched("ivo@northlake.example", is_active=False) == frozenset()


@pytest.mark.django_db
def test_only_confirmed_addresses_vouch_and_each_of_them_does() -> None:
    mei = UserFactory.create(email="mei@northlake.example", confirmed=False)
    assert verified_domains(mei) == frozenset()
    EmailAddress.objects.create(user=mei, email="Mei@Southfield.example", verified=True)
    assert verified_domains(mei) == {"southfield.example"}


@pytest.mark.parametrize(
    ("domain", "name"),
    [("northlake.example", "northlake"), ("cs.northlake.edu.cn", "northlake"), ("ox.ac.uk", "ox")],
)
def test_a_short_name_is_made_of_it(domain: str, name: str) -> None:
    assert short_name_of(domain) == name


def test_every_country_has_a_name_in_both_languages() -> None:
    assert len(countries.NAMES) == 249
    assert all(row["en"] and row["zh_hans"] for row in countries.NAMES.values())
    assert countries.name_of("NO") == "Norway"
    with translation.override("zh-hans"):
        assert countries.name_of("NO") == "挪威"
        assert ("NO", "挪威") in countries.choices()
