"""A cluster's rules: staff set them, and small requests are granted at once by them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.utils import timezone

from accounting import ledger
from accounting.actions import requests
from accounting.actions.policies import set_policy
from accounting.models import Allocation, AllocationRequest, Cluster, LedgerEntry, Policy, Review, policy_of
from portal.models import AuditEvent, OutgoingMail, Project, User
from tests.factories import AllocationRequestFactory, CallFactory
from tests.pages import browser, queries_of, words

State = AllocationRequest.State
HOURS = 3600
LIST = "/clusters/policies/"
PAGE = "/clusters/firefly/policy/"


@pytest.fixture
def small(sam: User, firefly: Cluster) -> Policy:
    return set_policy(by=sam, cluster=firefly, grant_at_once_up_to=50 * HOURS)


def ask(by: User, project: Project, cluster: Cluster, gpu_hours: int) -> AllocationRequest:
    today = timezone.now().date()
    return requests.request_hours(
        by=by,
        project=project,
        cluster=cluster,
        gpu_seconds=gpu_hours * HOURS,
        start=today,
        end=today + timedelta(days=30),
        justification="A first try.",
    )


def test_a_small_request_is_granted_at_once(
    ivo: User, sam: User, project: Project, firefly: Cluster, small: Policy
) -> None:
    asked = ask(ivo, project, firefly, 50)
    assert asked.state == State.APPROVED
    review = Review.objects.get()
    assert (review.reviewer, review.verdict, review.gpu_seconds_awarded) == (None, "approved", 50 * HOURS)
    entry = LedgerEntry.objects.get()
    assert (entry.actor, ledger.balance(Allocation.objects.get()).available) == (None, 50 * HOURS)
    for who in (ivo, sam):
        page = words(browser(who).get(f"/requests/{asked.pk}/"))
        assert "approved by policy" in page and "by the centre's policy for small requests" in page
    assert {mail.template for mail in OutgoingMail.objects.all()} == {"request_approved"}


def test_the_pi_is_told_at_once(ivo: User, project: Project, firefly: Cluster, small: Policy) -> None:
    draft = requests.request_hours(
        by=ivo,
        project=project,
        cluster=firefly,
        gpu_seconds=HOURS,
        start=timezone.now().date(),
        end=timezone.now().date(),
        justification="A first try.",
        submit=False,
    )
    told = words(browser(ivo).post(f"/requests/{draft.pk}/submit/", follow=True))
    assert "Granted at once" in told


def test_many_small_ones_are_not_a_large_one(
    ivo: User, project: Project, firefly: Cluster, small: Policy
) -> None:
    states = [ask(ivo, project, firefly, 20).state for _ in range(4)]
    assert states == [State.APPROVED, State.APPROVED, State.SUBMITTED, State.SUBMITTED]
    Review.objects.update(at=timezone.now() - timedelta(days=366))
    assert ask(ivo, project, firefly, 20).state == State.APPROVED


def test_others_wait_for_the_centre(ivo: User, project: Project, firefly: Cluster, small: Policy) -> None:
    assert ask(ivo, project, firefly, 51).state == State.SUBMITTED
    of_call = AllocationRequestFactory.create(
        project=project,
        cluster=firefly,
        created_by=ivo,
        gpu_hours=5,
        state=State.DRAFT,
        call=CallFactory.create(cluster=firefly),
    )
    requests.submit_request(by=ivo, request=of_call)
    assert of_call.state == State.SUBMITTED


def test_a_changed_amount_counts_as_it_is_sent(
    ivo: User, project: Project, firefly: Cluster, small: Policy
) -> None:
    asked = AllocationRequestFactory.create(
        project=project, cluster=firefly, created_by=ivo, gpu_hours=40, state=State.DRAFT
    )
    requests.change_request(
        by=ivo,
        request=asked,
        cluster=firefly,
        gpu_seconds=4000 * HOURS,
        start=asked.start or timezone.now().date(),
        end=asked.end or timezone.now().date(),
        justification="More.",
        submit=True,
    )
    assert asked.state == State.SUBMITTED and not Allocation.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_two_small_ones_at_once_are_added_up(
    ivo: User, project: Project, firefly: Cluster, small: Policy
) -> None:
    def one(_number: int) -> str:
        try:
            found = Project.objects.select_related("lab").get(pk=project.pk)
            return str(ask(User.objects.get(pk=ivo.pk), found, Cluster.objects.get(pk=firefly.pk), 30).state)
        finally:
            connection.close()

    with ThreadPoolExecutor(max_workers=2) as threads:
        assert sorted(threads.map(one, range(2))) == [State.APPROVED, State.SUBMITTED]
    assert LedgerEntry.objects.get().gpu_seconds == 30 * HOURS


# ── Setting them ─────────────────────────────────────────────────────────────


def typed(**other: Any) -> dict[str, Any]:
    return {
        "grant_at_once_up_to": "50",
        "two_approvers_above": "10 000",
        "grace_days": "14",
        "carry_over_percent": "20",
        "checkpoint_percent": "50",
        "checkpoint_used_percent": "25",
        "report_before_renewal": "on",
    } | other


def test_staff_set_the_rules(sam: User, ann: User, firefly: Cluster) -> None:
    assert "Firefly" in words(browser(sam).get(LIST))
    told = words(browser(sam).post(PAGE, typed(), follow=True))
    assert "The rules of Firefly are set" in told and "up to 50 GPU-h a project and year" in told
    policy = policy_of(firefly)
    assert (policy.grant_at_once_up_to, policy.two_approvers_above) == (50 * HOURS, 10_000 * HOURS)
    assert (policy.grace_days, policy.carry_over_percent) == (14, 20)
    event = AuditEvent.objects.about(policy).get()
    assert event.actor == sam and event.detail["changed"]["grace_days"] == [0, 14]
    assert 'value="10000"' in browser(sam).get(PAGE).content.decode()


def test_empty_means_none(sam: User, firefly: Cluster) -> None:
    browser(sam).post(PAGE, typed(grant_at_once_up_to="", two_approvers_above=""))
    policy = policy_of(firefly)
    assert (policy.grant_at_once_up_to, policy.two_approvers_above) == (0, None)
    assert "never" in words(browser(sam).get(LIST))


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("grace_days", "1_0", "Type a whole number from 0 to 366"),
        ("grace_days", "１４", "Type a whole number from 0 to 366"),
        ("grace_days", "9" * 400, "Type a whole number from 0 to 366"),
        ("grace_days", "", "This field is required"),
        ("carry_over_percent", "101", "Type a whole number from 0 to 100"),
        ("two_approvers_above", "NaN", "Type the hours in digits"),
        ("checkpoint_percent", "0", "Say after how much of the days"),
    ],
)
def test_a_bad_rule_says_why(sam: User, firefly: Cluster, field: str, value: str, sentence: str) -> None:
    answer = browser(sam).post(PAGE, typed() | {field: value})
    assert sentence in words(answer)
    assert field in answer.context["form"].errors
    assert not Policy.objects.exists()


def test_approvers_read_and_others_do_not(
    ann: User, ivo: User, mei: User, fay: User, firefly: Cluster
) -> None:
    assert browser(ann).get(LIST).status_code == 200
    assert browser(ann).post(PAGE, typed()).status_code == 403
    for who in (ivo, mei, fay):
        assert browser(who).get(LIST).status_code == 403
    with pytest.raises(PermissionDenied):
        set_policy(by=ann, cluster=firefly, grace_days=3)


def test_more_clusters_take_no_more_queries(sam: User, firefly: Cluster) -> None:
    few = queries_of(browser(sam), LIST)
    for number in range(20):
        Cluster.objects.create(name=f"c{number}", title=f"C {number}")
    assert queries_of(browser(sam), LIST) == few <= 15
