"""Long lists: what is past the last page is not listed, and no page is empty."""

from __future__ import annotations

from typing import Any

from django.db import connection
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext

from portal.lists import MOST_COUNTED, PER_PAGE, ByKeys, counts, first_and_count, page_of
from portal.models import Institution, User


def institutions(number: int) -> None:
    Institution.objects.bulk_create(
        Institution(name=f"{n:04}", slug=f"i{n}", account=f"i{n}") for n in range(number)
    )


def names(page: str) -> list[str]:
    found = page_of(RequestFactory().get("/", {"page": page}), Institution.objects.order_by("name"))
    return [one.name for one in found]


def test_pages_follow_each_other(db: None) -> None:
    institutions(PER_PAGE + 3)
    assert names("1") == [f"{n:04}" for n in range(PER_PAGE)]
    assert names("2") == [f"{n:04}" for n in range(PER_PAGE, PER_PAGE + 3)]


def test_the_last_page_that_is_listed_is_a_full_one(db: None) -> None:
    institutions(MOST_COUNTED + 7)
    assert names("1000000") == [f"{n:04}" for n in range(MOST_COUNTED - PER_PAGE, MOST_COUNTED)]
    page = page_of(RequestFactory().get("/"), Institution.objects.order_by("name"))
    assert page.paginator.count_in_words == "500+"


def test_an_empty_list_has_one_page(db: None) -> None:
    assert names("7") == []


def test_the_first_rows_and_how_many_there_are(db: None) -> None:
    institutions(5)
    first, count = first_and_count(Institution.objects.order_by("-name"), 2)
    assert ([one.name for one in first], count) == (["0004", "0003"], 5)
    assert first_and_count(Institution.objects.filter(name="none"), 2) == ([], 0)


def test_several_things_are_counted_at_once(db: None) -> None:
    institutions(3)
    rows = {"all": Institution.objects.all(), "some": Institution.objects.filter(name="0001")}
    assert counts(**rows) == {"all": 3, "some": 1}
    assert counts(people=User.objects.all()) == {"people": 0}


def test_the_first_page_is_found_and_counted_at_once(db: None, django_assert_num_queries: Any) -> None:
    institutions(PER_PAGE + 3)
    rows = Institution.objects.filter(name__startswith="00").order_by("-name")
    with django_assert_num_queries(2):  # which ones, and what they are
        page = page_of(RequestFactory().get("/"), rows)
        assert (len(page), page.paginator.count, page.has_next()) == (PER_PAGE, PER_PAGE + 3, True)
    with django_assert_num_queries(2):
        page = page_of(RequestFactory().get("/?page=2"), rows)
        assert (len(page), page.paginator.count, page.has_next()) == (3, PER_PAGE + 3, False)


def test_rows_are_fetched_as_shown_without_what_finds_them(db: None) -> None:
    institutions(3)
    shown = Institution.objects.only("name")
    with CaptureQueriesContext(connection) as asked:
        page = page_of(RequestFactory().get("/"), Institution.objects.filter(slug__startswith="i"), shown)
        assert [one.get_deferred_fields() >= {"country"} for one in page] == [True] * 3
    assert ["LIKE" in query["sql"] for query in asked] == [True, False]


def test_the_api_counts_to_the_end(db: None) -> None:
    institutions(MOST_COUNTED + 7)
    pages = ByKeys(Institution.objects.order_by("name"), PER_PAGE)
    first, last = pages.page(1), pages.page(pages.num_pages)
    assert (first.paginator.count, last[0].name) == (MOST_COUNTED + 7, f"{MOST_COUNTED:04}")
