"""What an award can be: in part, under conditions, in tranches, until another day; and the comments of a return."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from django.utils import timezone

from accounting.actions import requests, reviews
from accounting.forms.reviews import DecisionForm
from accounting.models import Allocation, AllocationRequest, Cluster, FieldComment, Review, Tranche
from portal.models import Project, User
from tests.factories import AllocationRequestFactory
from tests.pages import browser, words

HOURS = 3600


@pytest.fixture
def asked(project: Project, firefly: Cluster, ivo: User) -> AllocationRequest:
    return AllocationRequestFactory.create(project=project, cluster=firefly, created_by=ivo, gpu_hours=4000)


def day(ahead: int) -> date:
    return timezone.now().date() + timedelta(days=ahead)


def typed(*tranches: tuple[object, str], gpu_hours: str = "3000", **more: str) -> dict[str, str]:
    rows: dict[str, str] = {}
    for number, (when, amount) in enumerate(tranches, start=1):
        rows |= {f"tranche_day_{number}": str(when), f"tranche_hours_{number}": amount}
    return {"verdict": "approve", "gpu_hours": gpu_hours, "comment": ""} | rows | more


def test_an_award_in_tranches_under_conditions(sam: User, ivo: User, asked: AllocationRequest) -> None:
    form = typed((day(0), "1000"), (day(30), "1 500.5"), (day(90), "499.5"), conditions="Publish.")
    browser(sam).post(f"/requests/{asked.pk}/decide/", form)
    assert [one.gpu_seconds for one in Tranche.objects.all()] == [1000 * HOURS, 5_401_800, 1_798_200]
    review = Review.objects.get()
    assert (review.verdict, review.conditions) == ("approved", "Publish.")
    page = words(browser(ivo).get(f"/requests/{asked.pk}/"))
    assert "Publish." in page and "1 500.50 GPU-h from" in page


@pytest.mark.parametrize(
    ("tranches", "field", "sentence"),
    [
        ([("TODAY", "1000"), ("SOON", "1000")], "tranche_hours_1", "add up to 2 000 GPU-hours, the award is 3 000"),
        ([("TODAY", "1000"), ("TODAY", "2000")], "tranche_hours_1", "on the same day"),
        ([("2001-01-01", "3000")], "tranche_hours_1", "The day of a tranche is over"),
        ([("9999-12-31", "3000")], "tranche_hours_1", "after the last day"),
        ([("2026-02-30", "3000")], "tranche_day_1", "Give a date that exists"),
        ([("", "3000")], "tranche_day_1", "from which day on"),
        ([("TODAY", "")], "tranche_hours_1", "Type the hours in digits"),
        ([("TODAY", "NaN")], "tranche_hours_1", "Type the hours in digits"),
        ([("TODAY", "9" * 400)], "tranche_hours_1", "more than any cluster has"),
    ],
)  # fmt: skip
def test_tranches_that_can_not_be_get_their_sentence(
    sam: User, asked: AllocationRequest, tranches: list[tuple[str, str]], field: str, sentence: str
) -> None:
    days = {"TODAY": day(0), "SOON": day(9)}
    form = typed(*((days.get(when, when), amount) for when, amount in tranches), comment="Kept.")
    answer = browser(sam).post(f"/requests/{asked.pk}/decide/", form)
    assert sentence in words(answer)
    assert field in answer.context["form"].errors
    assert "Kept." in words(answer) and "<details" in answer.content.decode()
    assert not Review.objects.exists()


def test_an_extension_can_end_earlier_than_was_asked(
    sam: User, ivo: User, allocation: Allocation, firefly: Cluster
) -> None:
    asked = AllocationRequestFactory.create(
        project=allocation.project,
        cluster=firefly,
        created_by=ivo,
        kind="extension",
        allocation=allocation,
        gpu_hours=0,
        start=allocation.start,
        end=allocation.end + timedelta(days=90),
    )
    page = words(browser(sam).get(f"/requests/{asked.pk}/"))
    assert "Approve the extension" in page and "GPU-hours to grant" not in page
    too_early = {"verdict": "approve", "end": str(allocation.end), "comment": ""}
    assert "already last until" in words(browser(sam).post(f"/requests/{asked.pk}/decide/", too_early))
    form = DecisionForm(too_early | {"end": str(allocation.end + timedelta(days=30))}, asked=asked)
    assert form.is_valid()
    assert (form.award["gpu_seconds"], form.award["end"]) == (0, allocation.end + timedelta(days=30))


# ── Returned, and sent again ─────────────────────────────────────────────────


def test_the_lab_reads_the_comments_beside_fields(sam: User, ivo: User, asked: AllocationRequest) -> None:
    form = {"verdict": "return", "comment": "", "on_justification": "How long is one run?", "on_title": " "}
    browser(sam).post(f"/requests/{asked.pk}/decide/", form)
    comment = FieldComment.objects.get()
    assert (comment.field, comment.text) == ("justification", "How long is one run?")
    assert "How long is one run?" in words(browser(ivo).get(f"/requests/{asked.pk}/"))


def test_a_comment_that_is_too_long_gets_its_sentence(sam: User, asked: AllocationRequest) -> None:
    form = {"verdict": "return", "comment": "", "on_title": "x" * 2001}
    answer = browser(sam).post(f"/requests/{asked.pk}/decide/", form)
    assert "at most 2000 characters" in words(answer)
    assert not Review.objects.exists()


def test_who_reads_it_again_sees_what_changed(
    sam: User, ann: User, ivo: User, project: Project, firefly: Cluster
) -> None:
    days = {"start": day(0), "end": day(90)}
    wish = {"cluster": firefly, "gpu_seconds": 4000 * HOURS, "justification": "Some runs.", **days}
    asked = requests.request_hours(by=ivo, project=project, **wish)  # type: ignore[arg-type]
    reviews.return_request(
        by=sam, request=asked, comment="", field_comments={"justification": "How many?", "people": "Who?"}
    )
    wish |= {"justification": "Two hundred runs.", "gpu_seconds": 3000 * HOURS}
    requests.change_request(by=ivo, request=asked, submit=True, **wish)  # type: ignore[arg-type]
    page = browser(ann).get(f"/requests/{asked.pk}/")
    assert "<del>Some runs.</del>" in page.content.decode()
    assert "<ins>Two hundred runs.</ins>" in page.content.decode()
    assert "<del>4000.00</del>" in page.content.decode()
    text = words(page)
    assert "How many?" in text and "Who?" in text and "as it was:" in text
    assert "Changed since it was returned" not in words(browser(ivo).get(f"/requests/{asked.pk}/"))
