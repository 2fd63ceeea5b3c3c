"""The staff's page of sums beside the scheduler's, and the same for programs."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from accounting.models import Cluster, Discrepancy, Reconciliation
from portal.models import User
from tests.factories import ClusterFactory, DiscrepancyFactory
from tests.pages import browser, queries_of, words

URL = "/clusters/discrepancies/"


@pytest.fixture
def one(firefly: Cluster) -> Discrepancy:
    return DiscrepancyFactory.create(cluster=firefly, account="squeezed-light", ours=7200, theirs=7260)


def shown(user: User, query: str = "") -> str:
    return words(browser(user).get(f"{URL}{query}"))


def test_it_shows_what_differs_and_by_how_much(sam: User, one: Discrepancy) -> None:
    page = shown(sam)
    assert "1 sum differs from the scheduler's, and nobody knows why." in page
    for word in ("squeezed-light", "10 March 2026", "7 200", "7 260", "\N{MINUS SIGN}60", "open"):
        assert word in page


def test_an_empty_page_says_why_and_when(sam: User, firefly: Cluster) -> None:
    page = shown(sam)
    assert "Nothing was compared yet." in page
    assert "No difference is open" in page


def test_a_day_that_could_not_be_compared_is_not_called_equal(sam: User, firefly: Cluster) -> None:
    day = timezone.now().date() - timedelta(days=1)
    Reconciliation.objects.create(cluster=firefly, day=day, trouble="sreport did not end in time.")
    page = shown(sam)
    assert "1 day could not be compared: whether its sums agree is not known." in page
    for word in ("could not be compared", "not known", "sreport did not end in time."):
        assert word in page


def test_days_say_what_came_of_them(sam: User, firefly: Cluster) -> None:
    now = timezone.now()
    for back, ours in ((1, 5), (2, 6)):
        day = now.date() - timedelta(days=back)
        Reconciliation.objects.create(cluster=firefly, day=day, ours=ours, theirs=5, until=now)
    DiscrepancyFactory.create(cluster=firefly, day=now.date() - timedelta(days=2))
    page = shown(sam)
    assert "agrees" in page
    assert "differs" in page


def test_filters_live_in_the_address(sam: User, one: Discrepancy) -> None:
    ember = ClusterFactory.create(name="ember", title="Ember")
    DiscrepancyFactory.create(cluster=ember, account="helices", state="gone")
    assert "helices" not in shown(sam)
    assert "helices" in shown(sam, "?state=all")
    assert "helices" in shown(sam, "?state=gone&cluster=ember")
    assert "helices" not in shown(sam, "?state=all&account=squeezed")
    assert "No difference fits that" in shown(sam, "?cluster=ember")
    assert "squeezed-light" in shown(sam, "?state=nonsense&cluster=nowhere")


def test_its_queries_do_not_grow(sam: User, firefly: Cluster) -> None:
    client = browser(sam)
    for _ in range(30):
        DiscrepancyFactory.create(cluster=firefly)
    for back in range(20):
        day = timezone.now().date() - timedelta(days=back)
        Reconciliation.objects.create(cluster=firefly, day=day, trouble="away")
    assert queries_of(client, URL) <= 15


def test_it_is_explained(sam: User, one: Discrepancy) -> None:
    client = browser(sam)
    url = f"{URL}{one.pk}/explain/"
    assert "7 260 GPU-seconds" in words(client.get(url))
    answer = client.post(url, {"explanation": "A job lost its end."}, follow=True)
    assert "Explained. It comes back if one of the figures changes." in words(answer)
    one.refresh_from_db()
    assert (one.state, one.explanation, one.explained_by) == ("explained", "A job lost its end.", sam)
    page = shown(sam, "?state=explained")
    for word in ("A job lost its end.", "Sam Weber", "explained by staff"):
        assert word in page


def test_an_explanation_has_words(sam: User, one: Discrepancy) -> None:
    page = words(browser(sam).post(f"{URL}{one.pk}/explain/", {"explanation": " "}))
    assert "Say why the figures differ." in page
    one.refresh_from_db()
    assert one.state == "open"


def test_who_is_second_hears_so(sam: User, one: Discrepancy) -> None:
    client = browser(sam)
    for _ in range(2):
        answer = client.post(f"{URL}{one.pk}/explain/", {"explanation": "Twice."}, follow=True)
    assert "Somebody was faster: this is already explained." in words(answer)


def test_only_staff_see_and_explain(
    mei: User, ivo: User, ada: User, ann: User, fay: User, otto: User, one: Discrepancy
) -> None:
    for user in (mei, ivo, ada, ann, fay, otto):
        client = browser(user)
        assert client.get(URL).status_code == 403
        assert client.post(f"{URL}{one.pk}/explain/", {"explanation": "x"}).status_code == 403


def test_staff_s_home_counts_them(sam: User, mei: User, one: Discrepancy) -> None:
    assert "1 sum differs from the scheduler's" in words(browser(sam).get("/"))
    assert "differs from the scheduler" not in words(browser(mei).get("/"))


# ── For programs ─────────────────────────────────────────────────────────────


def test_programs_read_and_explain_them(sam: User, one: Discrepancy) -> None:
    client = browser(sam)
    url = "/api/v1/discrepancies/"
    (row,) = client.get(f"{url}?state=open&cluster=firefly&account=squeezed-light").json()["results"]
    assert (row["ours"], row["theirs"], row["state"], row["cause"]) == (7200, 7260, "open", "")
    assert client.get(f"{url}?state=open&cluster=ember").json()["results"] == []
    assert client.get(f"{url}?state=nonsense").status_code == 400
    done = client.post(f"{url}{one.pk}/explain/", {"explanation": "A job lost its end."}, "application/json")
    assert (done.json()["state"], done.json()["explained_by"]) == ("explained", "sam@example.org")
    again = client.post(f"{url}{one.pk}/explain/", {"explanation": "Twice."}, "application/json")
    assert again.status_code == 409


def test_programs_read_days(sam: User, firefly: Cluster) -> None:
    day = timezone.now().date()
    Reconciliation.objects.create(cluster=firefly, day=day, trouble="away")
    (row,) = browser(sam).get("/api/v1/reconciliations/").json()["results"]
    assert (row["outcome"], row["ours"], row["trouble"]) == ("unread", None, "away")
