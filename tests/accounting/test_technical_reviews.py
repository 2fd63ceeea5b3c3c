"""Technical reviews: asked of colleagues, answered with a score or a conflict of interest, never read by the lab."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.exceptions import PermissionDenied
from django.utils import timezone

from accounting.actions import reviews
from accounting.actions import technical_reviews as actions
from accounting.models import AllocationRequest, Cluster, TechnicalReview
from portal.models import AuditEvent, Lab, OutgoingMail, Project, Role, User
from portal.transitions import Overtaken
from tests.factories import AllocationRequestFactory, MembershipFactory, TechnicalReviewFactory
from tests.pages import browser, words

State = TechnicalReview.State


@pytest.fixture
def asked(project: Project, firefly: Cluster, ivo: User) -> AllocationRequest:
    return AllocationRequestFactory.create(project=project, cluster=firefly, created_by=ivo, gpu_hours=4000)


@pytest.fixture
def review(asked: AllocationRequest, ann: User, sam: User) -> TechnicalReview:
    return TechnicalReviewFactory.create(request=asked, reviewer=ann, asked_by=sam)


def in_a_week() -> str:
    return str(timezone.now().date() + timedelta(days=7))


def test_staff_ask_a_colleague_who_is_mailed_and_finds_it_first(
    sam: User, ann: User, asked: AllocationRequest
) -> None:
    older = timezone.now() - timedelta(days=9)
    AllocationRequestFactory.create(cluster=asked.cluster, project__title="Older", submitted_at=older)
    form = {"reviewer": str(ann.pk), "due": in_a_week()}
    told = words(browser(sam).post(f"/requests/{asked.pk}/reviews/", form, follow=True))
    assert "Ann Larsen is asked for a review until" in told
    assert OutgoingMail.objects.get(template="review_asked").recipient == ann
    queue = words(browser(ann).get("/requests/queue/"))
    assert queue.index("Squeezed light") < queue.index("Older")
    assert "yours: review until" in queue
    assert "Your technical review of Squeezed light" in words(browser(ann).get("/"))
    assert "reviewer Ann Larsen, until" in words(browser(sam).get("/requests/queue/"))


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("reviewer", "", "Choose a colleague"),
        ("reviewer", "9" * 30, "Choose one of the colleagues"),
        ("reviewer", "a\0b", "Choose one of the colleagues"),
        ("due", "2026-02-30", "Give a date that exists"),
        ("due", "2001-01-01", "This day is over"),
    ],
)
def test_a_bad_form_says_why(
    sam: User, ann: User, asked: AllocationRequest, field: str, value: str, sentence: str
) -> None:
    form = {"reviewer": str(ann.pk), "due": in_a_week()} | {field: value}
    answer = browser(sam).post(f"/requests/{asked.pk}/reviews/", form)
    assert (answer.status_code, sentence in words(answer)) == (200, True)
    assert not TechnicalReview.objects.exists()


def test_only_staff_ask_and_only_who_may_decide_is_asked(
    asked: AllocationRequest, sam: User, ann: User, mei: User, ivo: User, optics: Lab
) -> None:
    due = timezone.now().date()
    with pytest.raises(PermissionDenied, match="Only the centre's staff ask"):
        actions.ask_for_review(by=ann, request=asked, reviewer=sam, due=due)
    MembershipFactory.create(user=ivo, role=Role.APPROVER)
    MembershipFactory.create(user=ann, lab=optics)
    for who in (mei, User.objects.get(pk=ivo.pk), User.objects.get(pk=ann.pk)):
        with pytest.raises(PermissionDenied, match="Only colleagues"):
            actions.ask_for_review(by=sam, request=asked, reviewer=who, due=due)
    offered = words(browser(sam).get(f"/requests/{asked.pk}/reviews/"))
    assert "Ann Larsen" not in offered and "Ivo Petrov5" not in offered


def test_nobody_is_asked_twice_but_again_after_a_call_off(
    asked: AllocationRequest, sam: User, ann: User, review: TechnicalReview
) -> None:
    due = timezone.now().date()
    with pytest.raises(Overtaken, match="Ann Larsen was asked already"):
        actions.ask_for_review(by=sam, request=asked, reviewer=ann, due=due)
    browser(sam).post(f"/reviews/{review.pk}/call-off/")
    assert TechnicalReview.objects.get().state == State.CALLED_OFF
    assert actions.ask_for_review(by=sam, request=asked, reviewer=ann, due=due).state == State.ASKED


def test_a_review_is_read_by_the_centre_and_never_by_the_lab(
    asked: AllocationRequest, sam: User, ann: User, ivo: User, ada: User, review: TechnicalReview
) -> None:
    form = {"has_no_conflict": "on", "score": "2", "review": "Runs too long."}
    browser(ann).post(f"/reviews/{review.pk}/write/", form)
    review.refresh_from_db()
    assert (review.state, review.score, review.has_no_conflict) == (State.WRITTEN, 2, True)
    assert AuditEvent.objects.about(review).get().action == "technical review written"
    page = words(browser(sam).get(f"/requests/{asked.pk}/"))
    assert "Runs too long." in page and "2 of 5" in page
    for who in (ivo, ada):
        text = words(browser(who).get(f"/requests/{asked.pk}/"))
        assert "Runs too long." not in text and "technical review" not in text.lower()
        assert browser(who).get(f"/api/v1/technical-reviews/{review.pk}/").status_code == 404


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("has_no_conflict", "", "Declare that you have no conflict"),
        ("score", "6", "Choose a score from 1 to 5"),
        ("score", "", "Choose a score from 1 to 5"),
        ("review", "  ", "Say what the score stands on"),
        ("review", "x" * 10_001, "at most 10000 characters"),
    ],
)
def test_a_review_that_lacks_something_keeps_what_was_typed(
    ann: User, review: TechnicalReview, field: str, value: str, sentence: str
) -> None:
    form = {"has_no_conflict": "on", "score": "4", "review": "Kept words."} | {field: value}
    answer = browser(ann).post(
        f"/reviews/{review.pk}/write/", {name: text for name, text in form.items() if text}
    )
    assert sentence in words(answer)
    assert field == "review" or "Kept words." in words(answer)
    assert TechnicalReview.objects.get().state == State.ASKED


def test_with_a_conflict_one_reads_no_scores_and_does_not_decide(
    asked: AllocationRequest, sam: User, ann: User, review: TechnicalReview
) -> None:
    other = TechnicalReviewFactory.create(
        request=asked, state=State.WRITTEN, score=5, comment="Superb.", has_no_conflict=True
    )
    client = browser(ann)
    told = words(client.post(f"/reviews/{review.pk}/conflict/", follow=True))
    assert "Somebody else reviews and decides" in told
    assert "Superb." not in told and "You declared a conflict of interest" in told
    assert client.get(f"/api/v1/technical-reviews/{other.pk}/").status_code == 404
    with pytest.raises(PermissionDenied, match="conflict of interest"):
        reviews.approve_request(by=ann, request=AllocationRequest.objects.get(), gpu_seconds=3600)
    assert "Superb." in words(browser(sam).get(f"/requests/{asked.pk}/"))


def test_nobody_answers_for_another_or_twice(
    sam: User, ann: User, vera: User, review: TechnicalReview
) -> None:
    form = {"has_no_conflict": "on", "score": "4", "review": "Sound."}
    url = f"/reviews/{review.pk}/write/"
    assert browser(sam).post(url, form).status_code == 403
    assert browser(vera).post(url, form).status_code == 404
    browser(ann).post(url, form)
    assert "Somebody was faster" in words(browser(ann).post(url, form, follow=True))


def test_after_the_decision_nothing_waits_for_the_reviewer(
    asked: AllocationRequest, sam: User, ann: User, review: TechnicalReview
) -> None:
    reviews.reject_request(by=sam, request=asked, comment="No.")
    assert not TechnicalReview.objects.waiting_for(ann).exists()
    form = {"has_no_conflict": "on", "score": "4", "review": "Sound."}
    told = words(browser(ann).post(f"/reviews/{review.pk}/write/", form, follow=True))
    assert "this is already rejected" in told
