"""Large awards need two people: the first proposes, the second agrees to exactly that, or objects."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.utils import timezone

from accounting.actions import reviews
from accounting.actions.policies import set_policy
from accounting.actions.reviews import Portion
from accounting.models import Allocation, AllocationRequest, Cluster, LedgerEntry, Review, Tranche
from portal.models import Lab, Project, Role, User
from portal.transitions import Overtaken
from tests.conftest import person
from tests.factories import AllocationRequestFactory, MembershipFactory
from tests.pages import browser, words

State = AllocationRequest.State
HOURS = 3600


@pytest.fixture
def asked(project: Project, firefly: Cluster, ivo: User, sam: User) -> AllocationRequest:
    set_policy(by=sam, cluster=firefly, two_approvers_above=1000 * HOURS)
    return AllocationRequestFactory.create(project=project, cluster=firefly, created_by=ivo, gpu_hours=4000)


@pytest.fixture
def eva(db: None) -> User:
    return person("Eva Stone", Role.APPROVER)


def propose(by: User, asked: AllocationRequest, gpu_hours: int = 3000, **more: Any) -> Review:
    reviews.approve_request(by=by, request=fresh(asked), gpu_seconds=gpu_hours * HOURS, **more)
    return Review.objects.filter(request=asked).latest("pk")


def fresh(asked: AllocationRequest) -> AllocationRequest:
    return AllocationRequest.objects.select_related("project__lab", "cluster").get(pk=asked.pk)


def today() -> date:
    return timezone.now().date()


def test_up_to_the_threshold_one_is_enough(asked: AllocationRequest, sam: User) -> None:
    allocation = reviews.approve_request(by=sam, request=asked, gpu_seconds=1000 * HOURS)
    assert allocation is not None
    assert fresh(asked).state == State.APPROVED


def test_above_it_the_first_approval_grants_nothing(asked: AllocationRequest, sam: User) -> None:
    proposed = propose(sam, asked)
    assert fresh(asked).state == State.ENDORSED
    assert (proposed.verdict, proposed.gpu_seconds_awarded) == ("endorsed", 3000 * HOURS)
    assert not Allocation.objects.exists() and not LedgerEntry.objects.exists()


def test_the_second_grants_what_the_first_proposed(asked: AllocationRequest, sam: User, ann: User) -> None:
    parts = (Portion(today(), 1000 * HOURS), Portion(today() + timedelta(days=60), 2000 * HOURS))
    proposed = propose(sam, asked, conditions="Publish.", tranches=parts)
    reviews.agree_to_award(by=ann, request=fresh(asked), endorsement=proposed, comment="Fine.")
    award = Review.objects.get(verdict="approved")
    assert (award.reviewer, award.gpu_seconds_awarded, award.conditions) == (ann, 3000 * HOURS, "Publish.")
    assert [(t.available_from, t.gpu_seconds) for t in Tranche.objects.filter(review=award)] == [
        (part.available_from, part.gpu_seconds) for part in parts
    ]
    assert Allocation.objects.count() == 1


def test_who_gave_the_first_does_not_give_the_second(asked: AllocationRequest, ann: User) -> None:
    proposed = propose(ann, asked)
    assert not reviews.may_decide(ann, fresh(asked))
    for deed in (
        lambda: reviews.agree_to_award(by=ann, request=fresh(asked), endorsement=proposed),
        lambda: reviews.approve_request(by=ann, request=fresh(asked), gpu_seconds=HOURS),
        lambda: reviews.reject_request(by=ann, request=fresh(asked), comment="No."),
    ):
        with pytest.raises(PermissionDenied, match="You gave the first approval"):
            deed()


def test_the_second_is_an_approver_and_nobody_of_the_lab(
    asked: AllocationRequest, sam: User, ann: User, ivo: User, optics: Lab
) -> None:
    proposed = propose(ann, asked)
    MembershipFactory.create(user=ivo, role=Role.APPROVER)
    outsider = person("Ben Wolf", Role.APPROVER)
    MembershipFactory.create(user=outsider, lab=optics)
    for who in (sam, User.objects.get(pk=ivo.pk), User.objects.get(pk=outsider.pk)):
        with pytest.raises(PermissionDenied):
            reviews.agree_to_award(by=who, request=fresh(asked), endorsement=proposed)
    assert not Allocation.objects.exists()


def test_an_objection_sends_it_back_to_the_centre(
    asked: AllocationRequest, sam: User, ann: User, eva: User
) -> None:
    first = propose(sam, asked)
    reviews.object_to_award(by=ann, request=fresh(asked), endorsement=first, comment="Too many.")
    assert fresh(asked).state == State.SUBMITTED
    second = propose(ann, asked, 2000)
    reviews.agree_to_award(by=eva, request=fresh(asked), endorsement=second)
    assert LedgerEntry.objects.get().gpu_seconds == 2000 * HOURS


def test_nobody_agrees_to_another_award_than_they_read(
    asked: AllocationRequest, sam: User, ann: User, eva: User
) -> None:
    read = propose(sam, asked)
    reviews.object_to_award(by=ann, request=fresh(asked), endorsement=read, comment="Too many.")
    propose(sam, asked, 4000)
    with pytest.raises(Overtaken, match="has changed since you read it"):
        reviews.agree_to_award(by=eva, request=fresh(asked), endorsement=read)
    assert fresh(asked).state == State.ENDORSED and not Allocation.objects.exists()


def test_a_stale_first_approval_does_not_skip_the_second(
    asked: AllocationRequest, sam: User, ann: User
) -> None:
    seen = fresh(asked)
    propose(sam, asked)
    with pytest.raises(Overtaken):
        reviews.approve_request(by=ann, request=seen, gpu_seconds=HOURS)
    with pytest.raises(Overtaken):
        reviews.approve_request(by=ann, request=fresh(asked), gpu_seconds=HOURS)
    assert not Allocation.objects.exists()


def raced(*deeds: Callable[[], Any]) -> int:
    """How many of the deeds, done at once on connections of their own, were first."""

    def done(deed: Callable[[], Any]) -> bool:
        try:
            deed()
        except Overtaken:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(max_workers=len(deeds)) as threads:
        return sum(threads.map(done, deeds))


@pytest.mark.django_db(transaction=True)
def test_two_second_approvers_at_once_grant_once(
    asked: AllocationRequest, sam: User, ann: User, eva: User
) -> None:
    proposed = propose(sam, asked)
    requests = [fresh(asked), fresh(asked)]
    deeds = [
        lambda by=by, request=request: reviews.agree_to_award(by=by, request=request, endorsement=proposed)
        for by, request in zip((ann, eva), requests, strict=True)
    ]
    assert raced(*deeds) == 1
    assert LedgerEntry.objects.count() == Allocation.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_agreeing_and_objecting_at_once_do_one_of_both(
    asked: AllocationRequest, sam: User, ann: User, eva: User
) -> None:
    proposed = propose(sam, asked)
    one, other = fresh(asked), fresh(asked)
    assert (
        raced(
            lambda: reviews.agree_to_award(by=ann, request=one, endorsement=proposed),
            lambda: reviews.object_to_award(by=eva, request=other, endorsement=proposed, comment="No."),
        )
        == 1
    )
    granted = fresh(asked).state == State.APPROVED
    assert Allocation.objects.count() == LedgerEntry.objects.count() == int(granted)


# ── On the pages ─────────────────────────────────────────────────────────────


def test_the_first_is_told_that_a_second_has_to_agree(asked: AllocationRequest, sam: User, ivo: User) -> None:
    page = words(browser(sam).get(f"/requests/{asked.pk}/"))
    assert "Above 1 000 GPU-h a second approver has to agree" in page
    form = {"verdict": "approve", "gpu_hours": "3000", "conditions": "Publish."}
    told = words(browser(sam).post(f"/requests/{asked.pk}/decide/", form, follow=True))
    assert "3 000 GPU-hours for “Squeezed light” are proposed" in told
    assert "a second approver's" in told
    lab = words(browser(ivo).get(f"/requests/{asked.pk}/"))
    assert "first approval" not in lab and "Publish." not in lab


def test_the_second_reads_the_award_and_agrees(asked: AllocationRequest, sam: User, ann: User) -> None:
    proposed = propose(sam, asked, conditions="Publish.")
    client = browser(ann)
    page = words(client.get(f"/requests/{asked.pk}/"))
    assert "Agree to 3 000 GPU-hours" in page and "Publish." in page and "Sam Weber" in page
    form = {"verdict": "agree", "endorsement": str(proposed.pk), "comment": ""}
    assert "3 000 GPU-hours are granted" in words(
        client.post(f"/requests/{asked.pk}/decide/", form, follow=True)
    )
    assert Allocation.objects.count() == 1


@pytest.mark.parametrize("read", ["", "0", "nonsense", "９" * 10])
def test_an_agreement_to_nothing_grants_nothing(
    asked: AllocationRequest, sam: User, ann: User, read: str
) -> None:
    propose(sam, asked)
    form = {"verdict": "agree", "endorsement": read}
    told = words(browser(ann).post(f"/requests/{asked.pk}/decide/", form, follow=True))
    assert "has changed since you read it" in told
    assert not Allocation.objects.exists()


def test_an_objection_needs_a_word(asked: AllocationRequest, sam: User, ann: User) -> None:
    proposed = propose(sam, asked)
    form = {"verdict": "object", "endorsement": str(proposed.pk), "comment": ""}
    answer = browser(ann).post(f"/requests/{asked.pk}/decide/", form)
    assert "Say why, so that your colleague understands" in words(answer)
    form["comment"] = "Too many."
    browser(ann).post(f"/requests/{asked.pk}/decide/", form)
    assert fresh(asked).state == State.SUBMITTED
    assert "Too many." in words(browser(sam).get(f"/requests/{asked.pk}/"))


def test_staff_read_why_they_can_not_be_second(asked: AllocationRequest, sam: User, ann: User) -> None:
    propose(ann, asked)
    assert "needs a second approver" in words(browser(sam).get(f"/requests/{asked.pk}/"))
    form = {"verdict": "reject", "comment": "No."}
    assert browser(sam).post(f"/requests/{asked.pk}/decide/", form).status_code == 403
