"""The award letter: who sees the request reads it, in their language, the same bytes each time, fetching nothing."""

from __future__ import annotations

import io
from datetime import timedelta

import pytest
from django.utils import timezone, translation
from pypdf import PdfReader
from weasyprint import HTML

from accounting.actions import reviews
from accounting.actions.reviews import Portion
from accounting.letters import NothingFetched, _drawn, award_letter
from accounting.models import AllocationRequest, Cluster
from portal.models import Project, User
from tests.factories import AllocationRequestFactory
from tests.pages import assert_like_nowhere, browser

HOURS = 3600


@pytest.fixture
def approved(project: Project, firefly: Cluster, ivo: User, sam: User) -> AllocationRequest:
    asked = AllocationRequestFactory.create(project=project, cluster=firefly, created_by=ivo, gpu_hours=4000)
    today = timezone.now().date()
    parts = (Portion(today, 1000 * HOURS), Portion(today + timedelta(days=9), 2000 * HOURS))
    conditions = 'Publish. <img src="http://127.0.0.1:9/x.png"> 发表论文'
    reviews.approve_request(
        by=sam, request=asked, gpu_seconds=3000 * HOURS, conditions=conditions, tranches=parts
    )
    return AllocationRequest.objects.get()


def text_of(pdf: bytes) -> str:
    reader = PdfReader(io.BytesIO(pdf))
    return " ".join(" ".join(page.extract_text() for page in reader.pages).split()).replace("\u202f", " ")


def test_it_says_what_was_awarded(ivo: User, approved: AllocationRequest) -> None:
    answer = browser(ivo).get(f"/requests/{approved.pk}/letter.pdf")
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/pdf")
    text = text_of(answer.content)
    for words in (
        "3 000 GPU-hours on Firefly",
        "Squeezed light",
        "Northlake University",
        "Ivo Petrov",
        "4 000 GPU-hours",
        "2 000",
        "Publish. <img",
        "发表论文",
        "Sam Weber",
        str(approved.pk),
    ):
        assert words in text, words


def test_the_same_award_is_the_same_bytes(approved: AllocationRequest) -> None:
    review = approved.decision
    assert review is not None
    one = award_letter(approved, review)
    _drawn.cache_clear()
    assert award_letter(approved, review) == one
    with translation.override("zh-hans"):
        assert award_letter(approved, review) != one


def test_it_is_drawn_once_until_it_says_something_else(approved: AllocationRequest) -> None:
    review = approved.decision
    assert review is not None
    _drawn.cache_clear()
    for _ in range(2):
        award_letter(approved, review)
    assert _drawn.cache_info().misses == 1
    approved.project.title = "Bright light"
    assert "Bright light" in text_of(award_letter(approved, review))


def test_who_does_not_see_the_request_finds_no_letter(
    mei: User, vera: User, fay: User, ada: User, ann: User, approved: AllocationRequest
) -> None:
    url = f"/requests/{approved.pk}/letter.pdf"
    for stranger in (mei, vera, fay):
        assert_like_nowhere(browser(stranger), url)
    for reader in (ada, ann):
        assert browser(reader).get(url).status_code == 200


@pytest.mark.parametrize("state", ["submitted", "returned", "rejected", "endorsed", "withdrawn"])
def test_without_an_award_there_is_none(ivo: User, approved: AllocationRequest, state: str) -> None:
    AllocationRequest.objects.update(state=state)
    assert_like_nowhere(browser(ivo), f"/requests/{approved.pk}/letter.pdf")


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:9/x.png", "file:///etc/passwd", "data:image/png;base64,AAAA"]
)
def test_nothing_is_fetched(address: str) -> None:
    with pytest.raises(ValueError, match="A letter fetches nothing"):
        NothingFetched().fetch(address)
    assert HTML(string=f'<img src="{address}">', url_fetcher=NothingFetched()).write_pdf()
