"""The centre's queue: what waits first, by age; and the decision beside the application."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from accounting import ledger
from accounting.actions import requests, reviews
from accounting.models import (
    Allocation,
    AllocationRequest,
    Cluster,
    FieldComment,
    Review,
    Submission,
)
from portal.models import Project, Role, User
from tests.factories import (
    AllocationRequestFactory,
    MembershipFactory,
    ProjectFactory,
    ReviewFactory,
    TechnicalReviewFactory,
)
from tests.pages import browser, queries_of, words

QUEUE = "/requests/queue/"


@pytest.fixture
def asked(project: Project, firefly: Cluster, ivo: User) -> AllocationRequest:
    return AllocationRequestFactory.create(project=project, cluster=firefly, created_by=ivo, gpu_hours=4000)


def decide(
    user: User, asked: AllocationRequest, verdict: str, gpu_hours: str = "4000", comment: str = ""
) -> str:
    form = {"verdict": verdict, "gpu_hours": gpu_hours, "comment": comment}
    return words(browser(user).post(f"/requests/{asked.pk}/decide/", form, follow=True))


def test_it_shows_the_oldest_first_with_the_institutions_history(
    sam: User, allocation: Allocation, firefly: Cluster, asked: AllocationRequest
) -> None:
    older = ProjectFactory.create(title="Older wish")
    AllocationRequestFactory.create(
        project=older, cluster=firefly, submitted_at=timezone.now() - timedelta(days=3), gpu_hours=7
    )
    page = words(browser(sam).get(QUEUE))
    assert "2 requests wait for the centre" in page
    assert page.index("Older wish") < page.index("Squeezed light")
    assert "5 000.00" in page  # granted to Northlake so far


def test_it_says_whose_turn_it_is(sam: User, ann: User, asked: AllocationRequest) -> None:
    AllocationRequest.objects.update(created_by=sam)
    assert "a colleague's" in words(browser(sam).get(QUEUE))
    assert "yours" in words(browser(ann).get(QUEUE))


@pytest.mark.parametrize("who", ["mei", "ivo", "ada", "fay", "otto"])
def test_others_read_whose_page_it_is(who: str, request: pytest.FixtureRequest) -> None:
    answer = browser(request.getfixturevalue(who)).get(QUEUE)
    assert answer.status_code == 403
    assert "Only the centre's staff and approvers decide" in words(answer)


@pytest.mark.parametrize(
    ("show", "state"), [("with-lab", "returned"), ("decided", "rejected"), ("nonsense", "submitted")]
)
def test_it_shows_the_others_on_demand(sam: User, asked: AllocationRequest, show: str, state: str) -> None:
    AllocationRequest.objects.update(state=state, decided_at=timezone.now())
    assert "Squeezed light" in words(browser(sam).get(QUEUE, {"show": show}))


def test_an_empty_queue_says_so(sam: User) -> None:
    assert "New requests appear here" in words(browser(sam).get(QUEUE))


def test_what_waits_for_me_comes_first(
    sam: User, ann: User, firefly: Cluster, asked: AllocationRequest
) -> None:
    """My technical reviews, second approvals that I may give, then the oldest."""
    days = timedelta(days=1)

    def waiting(title: str, age: int, **more: str) -> AllocationRequest:
        return AllocationRequestFactory.create(
            cluster=firefly, project__title=title, submitted_at=timezone.now() - age * days, **more
        )

    waiting("Oldest", 9)
    ReviewFactory.create(request=waiting("By me", 8, state="endorsed"), reviewer=ann, verdict="endorsed")
    ReviewFactory.create(request=waiting("By sam", 2, state="endorsed"), reviewer=sam, verdict="endorsed")
    TechnicalReviewFactory.create(request=asked, reviewer=ann)
    page = words(browser(ann).get(QUEUE))
    order = ["Squeezed light", "By sam", "Oldest", "By me"]
    assert sorted(order, key=page.index) == order
    assert "yours: second approval" in page
    seen_by_staff = words(browser(sam).get(QUEUE))
    assert sorted(order, key=seen_by_staff.index) == ["Oldest", "By me", "By sam", "Squeezed light"]


@pytest.mark.parametrize(
    ("narrow", "found"),
    [
        ({"institution": "north"}, {"Squeezed light"}),
        ({"kind": "supplement"}, set()),
        ({"cluster": "firefly"}, {"Squeezed light"}),
        ({"cluster": "other", "institution": ""}, {"Elsewhere"}),
        ({"kind": "nonsense", "cluster": "nowhere", "call": "9" * 30}, {"Squeezed light", "Elsewhere"}),
        ({"institution": "nobody's"}, set()),
    ],
)
def test_it_is_narrowed_by_the_address(
    sam: User, asked: AllocationRequest, narrow: dict[str, str], found: set[str]
) -> None:
    AllocationRequestFactory.create(project__title="Elsewhere", cluster__name="other")
    page = words(browser(sam).get(QUEUE, narrow))
    assert {title for title in ("Squeezed light", "Elsewhere") if title in page} == found


def test_it_is_sorted_by_the_address(sam: User, asked: AllocationRequest) -> None:
    AllocationRequestFactory.create(project__title="Larger", gpu_hours=9000)
    page = words(browser(sam).get(QUEUE, {"sort": "-asked"}))
    assert page.index("Larger") < page.index("Squeezed light")


def test_more_requests_take_no_more_queries(sam: User, ann: User, asked: AllocationRequest) -> None:
    def reviewed(request: AllocationRequest) -> None:
        ReviewFactory.create(request=request, verdict="objected")
        TechnicalReviewFactory.create(request=request)

    reviewed(asked)
    few = queries_of(browser(sam), QUEUE)
    for request in AllocationRequestFactory.create_batch(29):
        reviewed(request)
    assert queries_of(browser(sam), QUEUE) == few <= 15


def test_a_request_with_all_that_can_be_takes_few_queries(
    sam: User, ann: User, asked: AllocationRequest
) -> None:
    url = f"/requests/{asked.pk}/"
    for number in range(1, 6):
        review = ReviewFactory.create(request=asked, verdict="returned")
        FieldComment.objects.create(review=review, field="title", text="Shorter.")
        Submission.objects.create(request=asked, number=number, content={"title": str(number)})
        TechnicalReviewFactory.create(request=asked)
    many = queries_of(browser(sam), url)
    for _ in range(5):
        MembershipFactory.create(role=Role.APPROVER)
        TechnicalReviewFactory.create(request=asked)
    assert queries_of(browser(sam), url) == many <= 15


def test_nobody_decides_on_what_they_have_not_read(
    sam: User, ann: User, ivo: User, asked: AllocationRequest
) -> None:
    """Returned by a colleague, changed and sent again while the page was open."""
    read = browser(ann).get(f"/requests/{asked.pk}/").context["form"]["sent"].value()
    reviews.return_request(by=sam, request=asked, comment="More.")
    requests.submit_request(by=ivo, request=AllocationRequest.objects.get())
    form = {"verdict": "approve", "gpu_hours": "4000", "sent": read}
    told = words(browser(ann).post(f"/requests/{asked.pk}/decide/", form, follow=True))
    assert "sent it again since you read it" in told
    assert not Allocation.objects.exists()


# ── The decision ─────────────────────────────────────────────────────────────


def test_staff_approve_what_was_asked(sam: User, ivo: User, asked: AllocationRequest) -> None:
    page = words(browser(sam).get(f"/requests/{asked.pk}/"))
    assert "Approve 4 000 GPU-hours" in page and "Northlake University so far" in page
    assert "4 000 GPU-hours are granted to “Squeezed light”" in decide(sam, asked, "approve")
    assert ledger.balance(Allocation.objects.get()).available == 4000 * 3600
    assert "were granted" in words(browser(ivo).get(f"/requests/{asked.pk}/"))


def test_an_approver_grants_a_part(ann: User, asked: AllocationRequest) -> None:
    assert "1 500.5" in decide(ann, asked, "approve", "1500.5", "To begin with.")
    assert Review.objects.get().gpu_seconds_awarded == 5_401_800


@pytest.mark.parametrize(
    ("verdict", "gpu_hours", "comment", "sentence"),
    [
        ("approve", "", "Kept.", "Type how many GPU-hours to grant"),
        ("approve", "NaN", "Kept.", "Type the hours in digits"),
        ("approve", "0", "Kept.", "above zero"),
        ("approve", "4001", "Kept.", "The lab asked for 4 000 GPU-hours"),
        ("approve", "9" * 400, "Kept.", "more than any cluster has"),
        ("return", "12", "", "Say what the lab should change"),
        ("reject", "NaN", "  ", "Say why"),
        ("", "12", "Kept.", "Press one of the buttons"),
        ("grant", "12", "Kept.", "Press one of the buttons"),
    ],
)
def test_a_decision_that_lacks_something_keeps_what_was_typed(
    sam: User, asked: AllocationRequest, verdict: str, gpu_hours: str, comment: str, sentence: str
) -> None:
    form = {"verdict": verdict, "gpu_hours": gpu_hours, "comment": comment}
    answer = browser(sam).post(f"/requests/{asked.pk}/decide/", form)
    assert answer.status_code == 200
    assert sentence in words(answer)
    assert f'value="{gpu_hours}"' in answer.content.decode() or not gpu_hours
    assert comment.strip() in answer.content.decode()
    assert not Review.objects.exists()


@pytest.mark.parametrize(("verdict", "state"), [("return", "returned"), ("reject", "rejected")])
def test_the_lab_reads_the_reason(
    sam: User, ivo: User, asked: AllocationRequest, verdict: str, state: str
) -> None:
    decide(sam, asked, verdict, "not a number", "<b>One run takes how long?</b>")
    asked.refresh_from_db()
    assert asked.state == state
    answer = browser(ivo).get(f"/requests/{asked.pk}/")
    assert "<b>One run takes how long?</b>" in words(answer)
    assert "<b>One run" not in answer.content.decode()


def test_who_comes_second_reads_who_was_faster(sam: User, ann: User, asked: AllocationRequest) -> None:
    reviews.approve_request(by=sam, request=AllocationRequest.objects.get(), gpu_seconds=3600)
    assert "Somebody was faster: this is already approved" in decide(ann, asked, "reject", comment="No.")
    assert Review.objects.get().verdict == "approved"


def test_a_member_of_the_lab_reads_why_not(ivo: User, asked: AllocationRequest) -> None:
    answer = browser(ivo).post(f"/requests/{asked.pk}/decide/", {"verdict": "approve", "gpu_hours": "4000"})
    assert answer.status_code == 403
    assert "nobody on their own" in words(answer)


def test_who_asked_for_the_lab_does_not_decide(sam: User, asked: AllocationRequest) -> None:
    AllocationRequest.objects.update(created_by=sam)
    assert "A colleague has to" in words(browser(sam).get(f"/requests/{asked.pk}/"))
    answer = browser(sam).post(f"/requests/{asked.pk}/decide/", {"verdict": "approve", "gpu_hours": "4000"})
    assert answer.status_code == 403


def test_what_was_decided_has_no_number(sam: User, asked: AllocationRequest) -> None:
    AllocationRequestFactory.create_batch(3, project=asked.project, cluster=asked.cluster, state="rejected")
    page = words(browser(sam).get(QUEUE))
    assert "Waiting for the centre 1 Returned to the lab 0 Decided Institution" in page
