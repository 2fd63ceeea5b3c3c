"""The pages on which a PI asks for hours and follows the answer."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from accounting.actions import reviews
from accounting.models import AllocationRequest, Cluster, Partition
from accounting.views.requests import MOST_OFFERED
from portal.models import Project, User
from tests.factories import AllocationRequestFactory, ProjectFactory, ReviewFactory
from tests.pages import assert_like_nowhere, browser, queries_of, words

NEW = "/projects/squeezed-light/request/"
LIST = "/requests/"


@pytest.fixture
def asked(project: Project, firefly: Cluster, ivo: User) -> AllocationRequest:
    return AllocationRequestFactory.create(project=project, cluster=firefly, created_by=ivo, gpu_hours=4000)


@pytest.fixture(autouse=True)
def partitions(a100: Partition, a100_preemptible: Partition) -> None:
    """Each has a row in the form."""


def typed(cluster: Cluster, hours: str = "4000", **other: str) -> dict[str, str]:
    today = timezone.now().date()
    return {
        "cluster": str(cluster.pk),
        line(cluster): hours,
        "start": f"{today}",
        "end": f"{today + timedelta(days=90)}",
        "justification": "Two hundred runs.",
    } | other


def line(cluster: Cluster, name: str = "a100", field: str = "hours") -> str:
    return f"{field}_{cluster.partitions.get(name=name).pk}"


def test_a_pi_sends_a_request(ivo: User, project: Project, firefly: Cluster) -> None:
    assert "Ask for GPU-hours" in words(browser(ivo).get(NEW))
    answer = browser(ivo).post(NEW, typed(firefly, send="1"), follow=True)
    request = AllocationRequest.objects.get()
    assert (request.state, request.gpu_seconds_asked) == ("submitted", 4000 * 3600)
    assert answer.redirect_chain[-1][0] == f"/requests/{request.pk}/"
    assert "The request is with the centre" in words(answer)


def test_a_pi_saves_a_draft_that_the_centre_does_not_see(
    ivo: User, sam: User, project: Project, firefly: Cluster
) -> None:
    browser(ivo).post(NEW, typed(firefly))
    request = AllocationRequest.objects.get()
    assert request.state == "draft"
    assert_like_nowhere(browser(sam), f"/requests/{request.pk}/")


def test_a_member_reads_who_can(mei: User, project: Project) -> None:
    answer = browser(mei).get(NEW)
    assert answer.status_code == 403
    assert "Only the lab's PI can ask for GPU-hours" in words(answer)


def test_a_stranger_finds_nothing(otto: User, vera: User, asked: AllocationRequest) -> None:
    for stranger in (otto, vera):
        for url in (NEW, f"/requests/{asked.pk}/", f"/requests/{asked.pk}/edit/"):
            assert_like_nowhere(browser(stranger), url)
        for deed in ("submit", "withdraw", "decide"):
            assert browser(stranger).post(f"/requests/{asked.pk}/{deed}/").status_code == 404


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("hours", "NaN", "Type the hours in digits"),
        ("hours", "-5", "without a sign"),
        ("hours", "9" * 400, "more than any cluster has"),
        ("hours", "", "Type how many GPU-hours"),
        ("start", "2026-02-30", "Give a date that exists"),
        ("start", "2001-01-01", "This day is over"),
        ("end", "9999-12-31", "too far away"),
        ("end", "2001-01-01", "before the first one"),
        ("justification", "", "Say what the hours are for"),
        ("justification", "a\0b", "Null characters are not allowed"),
        ("justification", "x" * 10_001, "at most 10000 characters"),
        ("cluster", "abc", "Choose one of the clusters"),
        ("cluster", "9" * 40, "Choose one of the clusters"),
    ],
)
def test_a_wrong_field_gets_its_sentence_and_the_rest_is_kept(
    ivo: User, project: Project, firefly: Cluster, field: str, value: str, sentence: str
) -> None:
    field = line(firefly) if field == "hours" else field
    answer = browser(ivo).post(NEW, typed(firefly, send="1") | {"justification": "Kept words.", field: value})
    assert answer.status_code == 200
    assert sentence in words(answer)
    assert field in answer.context["form"].errors
    if field != "justification":
        assert "Kept words." in answer.content.decode()
    if field == line(firefly):
        assert f'value="{value}"' in answer.content.decode() or not value
    assert not AllocationRequest.objects.exists()


def test_a_returned_request_is_changed_and_sent(ivo: User, sam: User, asked: AllocationRequest) -> None:
    reviews.return_request(by=sam, request=asked, comment="How long is one run?")
    client = browser(ivo)
    page = words(client.get(f"/requests/{asked.pk}/"))
    assert "How long is one run?" in page and "returned for changes" in page
    client.post(f"/requests/{asked.pk}/edit/", typed(asked.cluster, "3000", send="1"))
    asked.refresh_from_db()
    assert (asked.state, asked.gpu_seconds_asked) == ("submitted", 3000 * 3600)


def test_what_the_centre_reads_cannot_be_changed(ivo: User, asked: AllocationRequest) -> None:
    for answer in (
        browser(ivo).get(f"/requests/{asked.pk}/edit/", follow=True),
        browser(ivo).post(f"/requests/{asked.pk}/edit/", typed(asked.cluster), follow=True),
    ):
        assert "can no longer be changed" in words(answer)


def test_a_pi_withdraws(ivo: User, asked: AllocationRequest) -> None:
    answer = browser(ivo).post(f"/requests/{asked.pk}/withdraw/", follow=True)
    assert "is withdrawn" in words(answer)
    again = browser(ivo).post(f"/requests/{asked.pk}/withdraw/", follow=True)
    assert "already withdrawn" in words(again)


def test_a_draft_is_sent(ivo: User, project: Project, firefly: Cluster) -> None:
    browser(ivo).post(NEW, typed(firefly))
    request = AllocationRequest.objects.get()
    answer = browser(ivo).post(f"/requests/{request.pk}/submit/", follow=True)
    assert "is with the centre" in words(answer)


@pytest.mark.parametrize("deed", ["submit", "withdraw"])
def test_a_deed_is_a_post(ivo: User, asked: AllocationRequest, deed: str) -> None:
    assert browser(ivo).get(f"/requests/{asked.pk}/{deed}/").status_code == 405


def test_the_list_says_what_to_do_first(ivo: User, mei: User, project: Project, otto: User) -> None:
    assert "You have not asked for GPU-hours yet" in words(browser(ivo).get(LIST))
    assert "Your lab's PI asks the centre" in words(browser(mei).get(LIST))


def test_the_list_shows_asked_and_granted(ivo: User, vera: User, asked: AllocationRequest, sam: User) -> None:
    reviews.approve_request(by=sam, request=asked, gpu_seconds=3000 * 3600)
    page = words(browser(ivo).get(LIST))
    assert "Squeezed light" in page and "4\u202f000.00".replace("\u202f", " ") in page and "3 000.00" in page
    assert "Squeezed light" not in words(browser(vera).get(LIST))


def test_more_requests_take_no_more_queries(ivo: User, asked: AllocationRequest) -> None:
    few = queries_of(browser(ivo), LIST)
    for _ in range(5):
        more = AllocationRequestFactory.create(
            project=asked.project, cluster=asked.cluster, created_by=ivo, state="approved"
        )
        ReviewFactory.create(request=more)
    assert queries_of(browser(ivo), LIST) == few


def test_who_leads_many_projects_chooses_among_all(project: Project, ivo: User) -> None:
    client = browser(ivo)
    assert "All projects" not in words(client.get(LIST))
    ProjectFactory.create_batch(MOST_OFFERED, lab=project.lab)
    page = client.get(LIST).content.decode()
    assert page.count('class="dropdown-item" href="/projects/') == MOST_OFFERED + 1  # and the list of all
    assert "All projects" in page


def test_what_one_asked_elsewhere_stays_in_sight(
    asked: AllocationRequest, firefly: Cluster, ivo: User
) -> None:
    assert [*AllocationRequest.objects.visible_to(ivo)] == [asked]
    AllocationRequestFactory.create(project=ProjectFactory.create(), cluster=firefly)
    elsewhere = AllocationRequestFactory.create(
        project=ProjectFactory.create(), cluster=firefly, created_by=ivo
    )
    assert {*AllocationRequest.objects.visible_to(ivo)} == {asked, elsewhere}
