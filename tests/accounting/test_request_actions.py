"""Asking for hours and deciding on it: who may, in which order, and that two don't decide at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.utils import timezone

from accounting import ledger
from accounting.actions import requests, reviews
from accounting.models import Allocation, AllocationRequest, Cluster, LedgerEntry, Review
from portal.models import AuditEvent, Lab, Project, Role, User
from portal.transitions import Overtaken
from tests.factories import AllocationRequestFactory, MembershipFactory

State = AllocationRequest.State
HOURS = 3600


@pytest.fixture
def asked(project: Project, firefly: Cluster, ivo: User) -> AllocationRequest:
    return AllocationRequestFactory.create(project=project, cluster=firefly, created_by=ivo, gpu_hours=4000)


def wish(project: Project, cluster: Cluster, **other: Any) -> dict[str, Any]:
    today = timezone.now().date()
    return {
        "project": project,
        "cluster": cluster,
        "gpu_seconds": 100 * HOURS,
        "start": today,
        "end": today + timedelta(days=30),
        "justification": "Because.",
    } | other


def test_a_pi_asks_and_the_centre_has_it(ivo: User, project: Project, firefly: Cluster) -> None:
    request = requests.request_hours(by=ivo, **wish(project, firefly))
    assert (request.state, request.created_by) == (State.SUBMITTED, ivo)
    assert request.submitted_at is not None
    trail = AuditEvent.objects.about(request).order_by("pk").values_list("action", flat=True)
    assert list(trail) == ["allocation request drafted", "allocation request submitted"]


def test_a_member_and_a_stranger_cannot_ask(
    mei: User, otto: User, vera: User, project: Project, firefly: Cluster
) -> None:
    for person in (mei, otto, vera):
        with pytest.raises(PermissionDenied):
            requests.request_hours(by=person, **wish(project, firefly))
    assert not AllocationRequest.objects.exists()


def test_hours_are_asked_for_active_projects(ivo: User, project: Project, firefly: Cluster) -> None:
    Project.objects.update(state=Project.State.CLOSED)
    project.refresh_from_db()
    with pytest.raises(PermissionDenied, match="closed"):
        requests.request_hours(by=ivo, **wish(project, firefly))


def test_an_approval_in_part_grants_what_was_typed(asked: AllocationRequest, sam: User) -> None:
    allocation = reviews.approve_request(
        by=sam, request=asked, gpu_seconds=3000 * HOURS, comment="To begin with."
    )
    assert allocation and ledger.balance(allocation).available == 3000 * HOURS
    assert (allocation.start, allocation.end, allocation.project) == (asked.start, asked.end, asked.project)
    review = Review.objects.get()
    assert (review.verdict, review.gpu_seconds_awarded, review.reviewer) == ("approved", 3000 * HOURS, sam)
    entry = LedgerEntry.objects.get()
    assert (entry.kind, entry.review, entry.actor) == ("grant", review, sam)


def test_nobody_decides_on_their_own(asked: AllocationRequest, ivo: User, optics: Lab, sam: User) -> None:
    MembershipFactory.create(user=ivo, role=Role.STAFF)
    MembershipFactory.create(user=sam, lab=optics)
    for person in (ivo, sam):
        fresh = User.objects.get(pk=person.pk)
        assert not reviews.may_decide(fresh, asked)
        with pytest.raises(PermissionDenied, match="Nobody decides"):
            reviews.approve_request(by=fresh, request=asked, gpu_seconds=HOURS)
    assert not Allocation.objects.exists()


@pytest.mark.parametrize("who", ["mei", "ivo", "ada", "fay", "otto"])
def test_only_the_centre_decides(asked: AllocationRequest, who: str, request: pytest.FixtureRequest) -> None:
    person: User = request.getfixturevalue(who)
    for deed in (reviews.return_request, reviews.reject_request):
        with pytest.raises(PermissionDenied):
            deed(by=person, request=asked, comment="No.")
    asked.refresh_from_db()
    assert asked.state == State.SUBMITTED


def test_a_returned_request_is_changed_and_sent_again(
    asked: AllocationRequest, ivo: User, ann: User, firefly: Cluster
) -> None:
    reviews.return_request(by=ann, request=asked, comment="How long is one run?")
    changes = wish(asked.project, firefly, gpu_seconds=7 * HOURS)
    del changes["project"]
    requests.change_request(by=ivo, request=asked, submit=True, **changes)
    asked.refresh_from_db()
    assert (asked.state, asked.gpu_seconds_asked) == (State.SUBMITTED, 7 * HOURS)


@pytest.mark.parametrize("state", [State.SUBMITTED, State.APPROVED, State.REJECTED, State.WITHDRAWN])
def test_what_the_centre_reads_cannot_change(
    asked: AllocationRequest, ivo: User, firefly: Cluster, state: str
) -> None:
    AllocationRequest.objects.update(state=state)
    changes = wish(asked.project, firefly)
    del changes["project"]
    with pytest.raises(Overtaken):
        requests.change_request(by=ivo, request=asked, **changes)
    assert AllocationRequest.objects.get().gpu_seconds_asked == 4000 * HOURS


@pytest.mark.parametrize(
    "state", [State.DRAFT, State.RETURNED, State.APPROVED, State.REJECTED, State.WITHDRAWN]
)
def test_only_a_waiting_request_is_decided(asked: AllocationRequest, sam: User, state: str) -> None:
    AllocationRequest.objects.update(state=state)
    asked.refresh_from_db()
    with pytest.raises(Overtaken):
        reviews.approve_request(by=sam, request=asked, gpu_seconds=HOURS)
    assert not Allocation.objects.exists() and not Review.objects.exists()


def test_who_comes_second_is_told(asked: AllocationRequest, sam: User, ann: User) -> None:
    seen_by_ann = AllocationRequest.objects.get()
    reviews.approve_request(by=sam, request=asked, gpu_seconds=HOURS)
    with pytest.raises(Overtaken, match="already approved"):
        reviews.reject_request(by=ann, request=seen_by_ann, comment="No.")
    assert Review.objects.get().verdict == "approved"


@pytest.mark.django_db(transaction=True)
def test_two_who_approve_at_once_grant_once(asked: AllocationRequest, sam: User, ann: User) -> None:
    def approve(by: User) -> bool:
        try:
            request = AllocationRequest.objects.select_related("project__lab").get(pk=asked.pk)
            reviews.approve_request(by=by, request=request, gpu_seconds=HOURS)
        except Overtaken:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(max_workers=2) as threads:
        assert sorted(threads.map(approve, (sam, ann))) == [False, True]
    assert LedgerEntry.objects.count() == Allocation.objects.count() == Review.objects.count() == 1


@pytest.mark.parametrize("state", [*State])
def test_the_table_of_moves_is_kept(state: str) -> None:
    final = {State.APPROVED, State.REJECTED, State.WITHDRAWN}
    assert bool(AllocationRequest.MOVES[State(state)]) == (state not in final)
