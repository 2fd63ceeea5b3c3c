"""The pages on which the centre puts the ledger right: refunds, corrections by two, prices, and what does not add up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounting import ledger
from accounting.actions import corrections
from accounting.actions.policies import set_policy
from accounting.models import (
    Allocation,
    BalanceDifference,
    ChargeFactor,
    Correction,
    Partition,
    RefundProposal,
)
from accounting.usage import record_runs
from portal.models import AuditEvent, Lab, Role, User
from tests.factories import MembershipFactory, RunFactory
from tests.pages import browser, queries_of, words

pytestmark = pytest.mark.django_db
HOUR = 3600
PRICES = "/clusters/firefly/prices/"


@pytest.fixture
def lost(allocation: Allocation) -> list[RefundProposal]:
    """Three runs of two GPU-hours each that a failing node ended."""
    runs = [RunFactory.create(state="NODE_FAIL") for _ in range(3)]
    record_runs(runs, cluster=allocation.cluster, as_of=timezone.now(), in_queue=())
    return list(RefundProposal.objects.order_by("pk"))


@pytest.fixture
def large(allocation: Allocation, sam: User) -> Correction:
    """sam would take off 200 hours; the rules want two above 100."""
    set_policy(by=sam, cluster=allocation.cluster, second_person_above=100 * HOUR)
    one = Allocation.objects.select_related("project__lab", "cluster").get(pk=allocation.pk)
    written = corrections.adjust(by=sam, allocation=one, gpu_seconds=-200 * HOUR, reason="A double count.")
    assert isinstance(written, Correction)
    return written


def tomorrow(days: int = 1) -> str:
    return (timezone.now().date() + timedelta(days=days)).isoformat()


# ── Refunds ──────────────────────────────────────────────────────────────────


def test_home_says_what_waits_for_staff(
    lost: list[RefundProposal], large: Correction, sam: User, ann: User
) -> None:
    BalanceDifference.objects.create(kind="hold", subject="hold x", expected=0, found=1)
    of_staff = words(browser(sam).get("/"))
    assert "3 runs that failing nodes ended can be refunded" in of_staff
    assert "1 figure does not follow from the facts" in of_staff
    assert "needs a second person" not in of_staff  # it is sam's own
    assert "1 correction of a balance needs a second person" in words(browser(ann).get("/"))


def test_those_that_are_ticked_are_given_back_together(
    lost: list[RefundProposal], allocation: Allocation, sam: User
) -> None:
    ticked = [str(one.pk) for one in lost[:2]]
    answer = browser(sam).post("/refunds/", {"refund": ticked, "verdict": "approve"}, follow=True)
    assert "2 refunds are given." in words(answer)
    assert ledger.balance(allocation).used == 2 * HOUR
    assert [one.state for one in RefundProposal.objects.order_by("pk")] == [
        "approved",
        "approved",
        "proposed",
    ]


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ({"verdict": "approve"}, "Tick at least one"),
        ({"verdict": "approve", "refund": ["0", "x", "9" * 30, "a\0b"]}, "Tick at least one"),
        ({"verdict": "decline", "refund": "FIRST"}, "Say why not."),
        ({"refund": "FIRST"}, "Choose one of the two."),
    ],
)
def test_an_answer_that_is_not_whole_says_why_and_keeps_what_was_ticked(
    lost: list[RefundProposal], sam: User, typed: dict[str, Any], sentence: str
) -> None:
    first = str(lost[0].pk)
    typed = typed | {"refund": first if typed.get("refund") == "FIRST" else typed.get("refund", [])}
    answer = browser(sam).post("/refunds/", typed)
    assert sentence in words(answer)
    assert (f'value="{first}" checked' in answer.content.decode()) == (typed["refund"] == first)
    assert RefundProposal.objects.filter(state="proposed").count() == 3


def test_declined_ones_stand_with_their_reason(lost: list[RefundProposal], sam: User) -> None:
    typed = {"refund": [str(lost[0].pk)], "verdict": "decline", "reason": "It had written its results."}
    browser(sam).post("/refunds/", typed)
    page = words(browser(sam).get("/refunds/?show=decided"))
    assert "Sam Weber: It had written its results." in page


def test_staff_are_offered_no_refund_of_their_own_lab(
    lost: list[RefundProposal], optics: Lab, sam: User
) -> None:
    MembershipFactory.create(user=sam, role=Role.MEMBER, lab=optics)
    client = browser(sam)
    assert 'name="refund"' not in client.get("/refunds/").content.decode()
    answer = client.post("/refunds/", {"refund": [str(lost[0].pk)], "verdict": "approve"})
    assert "Tick at least one" in words(answer)


def test_a_decision_asks_again_who_is_there(lost: list[RefundProposal], sam: User) -> None:
    client = Client()
    client.force_login(sam)
    answer = client.post("/refunds/", {"refund": [str(lost[0].pk)], "verdict": "approve"})
    assert answer.status_code == 302
    assert "reauthenticate" in answer["Location"]
    assert not RefundProposal.objects.filter(state="approved").exists()


def test_many_take_no_more_queries(allocation: Allocation, lost: list[RefundProposal], sam: User) -> None:
    client = browser(sam)
    few = queries_of(client, "/refunds/")
    runs = [RunFactory.create(state="BOOT_FAIL") for _ in range(60)]
    record_runs(runs, cluster=allocation.cluster, as_of=timezone.now(), in_queue=())
    assert queries_of(client, "/refunds/") <= max(few, 15)


# ── Corrections by two ───────────────────────────────────────────────────────


def test_a_large_correction_says_that_a_second_person_is_asked(
    large: Correction, allocation: Allocation, sam: User
) -> None:
    form = browser(sam).get(f"/allocations/{allocation.pk}/adjust/")
    assert "a second person has to agree" in words(form)
    typed = {"direction": "add", "gpu_hours": "150", "reason": "Repairs."}
    answer = browser(sam).post(f"/allocations/{allocation.pk}/adjust/", typed, follow=True)
    page = words(answer)
    assert "a second person has to agree" in page
    assert "You can take it back." in page
    assert ledger.balance(allocation).balance == 5000 * HOUR


def test_the_second_person_agrees(large: Correction, allocation: Allocation, ann: User) -> None:
    client = browser(ann)
    assert "A double count." in words(client.get(f"/corrections/{large.pk}/"))
    client.post(f"/corrections/{large.pk}/", {"verdict": "approve"})
    assert ledger.balance(allocation).balance == 4800 * HOUR
    assert "approved" in words(client.get("/corrections/?show=decided"))


def test_who_proposed_it_is_offered_no_agreement(
    large: Correction, allocation: Allocation, sam: User
) -> None:
    client = browser(sam)
    assert 'value="approve"' not in client.get(f"/corrections/{large.pk}/").content.decode()
    answer = client.post(f"/corrections/{large.pk}/", {"verdict": "approve"})
    assert "Choose one of the two." in words(answer)
    assert ledger.balance(allocation).balance == 5000 * HOUR


def test_who_says_no_says_why(large: Correction, ann: User) -> None:
    client = browser(ann)
    assert "Say why not." in words(client.post(f"/corrections/{large.pk}/", {"verdict": "decline"}))
    client.post(f"/corrections/{large.pk}/", {"verdict": "decline", "reason": "Counted once."})
    large.refresh_from_db()
    assert (large.state, large.comment) == ("declined", "Counted once.")


def test_the_rules_of_a_cluster_say_from_where_on(large: Correction, sam: User) -> None:
    assert "above 100" in words(browser(sam).get("/clusters/policies/"))


def test_a_program_gets_the_same_answers(
    large: Correction, allocation: Allocation, sam: User, ann: User
) -> None:
    body = {"gpu_seconds": 150 * HOUR, "reason": "Repairs."}
    address = f"/api/v1/allocations/{allocation.pk}/adjust/"
    answer = browser(sam).post(address, body, content_type="application/json").json()
    assert answer["entry"] is None
    agreed = f"/api/v1/corrections/{answer['correction']}/approve/"
    refused = browser(sam).post(agreed, {}, content_type="application/json")
    assert (refused.status_code, refused.json()["detail"]) == (
        403,
        "You proposed this correction. Somebody else has to agree to it.",
    )
    program = browser(ann)
    assert program.post(agreed, {}, content_type="application/json").json()["state"] == "approved"
    assert program.post(agreed, {}, content_type="application/json").status_code == 409
    assert ledger.balance(allocation).balance == 5150 * HOUR


# ── Prices ───────────────────────────────────────────────────────────────────


def test_a_new_price_holds_from_its_day_on(a100: Partition, allocation: Allocation, sam: User) -> None:
    typed = {"partition": "a100", "factor": "1.5", "valid_from": tomorrow()}
    answer = browser(sam).post(PRICES, typed, follow=True)
    assert "a100 costs 1.5" in words(answer)
    price = ChargeFactor.objects.get(partition=a100, factor=Decimal("1.5"))
    assert price.valid_from == datetime.fromisoformat(tomorrow()).replace(tzinfo=UTC)
    begins = price.valid_from
    assert a100.factor_at(begins - timedelta(seconds=1)) == 1
    assert a100.factor_at(begins) == Decimal("1.5")
    assert AuditEvent.objects.get(action="price set").actor == sam


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ({"valid_from": tomorrow(0)}, "What has run keeps its price"),
        ({"valid_from": "2020-01-01"}, "What has run keeps its price"),
        ({"valid_from": "2026-02-30"}, "Choose a day that exists."),
        ({"valid_from": "9999-12-31"}, "That is too far away"),
        ({"factor": "-1"}, "Type a number from 0 to 9999"),
        ({"factor": "1e3"}, "Type a number from 0 to 9999"),
        ({"factor": "0.00001"}, "Type a number from 0 to 9999"),
        ({"partition": "elsewhere"}, "Choose a partition of this cluster."),
        ({"partition": ""}, "Choose a partition."),
    ],
)
def test_a_price_that_cannot_be_set_says_why(
    a100: Partition, sam: User, typed: dict[str, str], sentence: str
) -> None:
    good = {"partition": "a100", "factor": "1.5", "valid_from": tomorrow(3)}
    assert sentence in words(browser(sam).post(PRICES, good | typed))
    assert ChargeFactor.objects.count() == 1


def test_two_prices_of_one_moment_are_refused(a100: Partition, sam: User) -> None:
    typed = {"partition": "a100", "factor": "1.5", "valid_from": tomorrow(3)}
    browser(sam).post(PRICES, typed)
    assert "already" in words(browser(sam).post(PRICES, typed | {"factor": "2"}))


def test_a_program_cannot_change_what_has_run_either(a100: Partition, sam: User) -> None:
    body = {"partition": "a100", "factor": "2", "valid_from": "2026-01-01T00:00:00Z"}
    answer = browser(sam).post("/api/v1/policies/firefly/prices/", body, content_type="application/json")
    assert answer.status_code == 400
    assert "What has run keeps its price" in answer.json()["errors"]["valid_from"][0]


# ── What does not add up ─────────────────────────────────────────────────────


def test_a_difference_stands_with_its_figures_until_it_is_cleared(sam: User) -> None:
    one = BalanceDifference.objects.create(kind="hold", subject="hold x", expected=0, found=2 * HOUR)
    client = browser(sam)
    page = words(client.get("/clusters/differences/"))
    assert "1 figure does not follow from the facts." in page
    assert "hold x" in page
    assert "By the facts 0 GPU-seconds, found 7 200." in words(
        client.get(f"/clusters/differences/{one.pk}/")
    ).replace("\u202f", " ").replace("\u00a0", " ")
    assert "Say what made it differ." in words(client.post(f"/clusters/differences/{one.pk}/", {"cause": ""}))
    client.post(f"/clusters/differences/{one.pk}/", {"cause": "A worker was killed."})
    assert "A worker was killed." in words(client.get("/clusters/differences/"))


def test_without_any_the_page_says_so(sam: User) -> None:
    assert "Nothing ever differed" in words(browser(sam).get("/clusters/differences/"))
