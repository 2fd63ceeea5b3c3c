"""The page of an allocation: where it stands, its life as a story, and what each person may do about it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from django.utils.formats import date_format

from accounting import ledger, lifetimes
from accounting.actions import allocations as actions
from accounting.actions.awards import carry_out
from accounting.actions.corrections import adjust
from accounting.models import (
    Allocation,
    AllocationRequest,
    LedgerEntry,
    Partition,
    Policy,
    ProgressReport,
    Tranche,
)
from accounting.usage import record_runs
from jobs.quoting import quote
from portal import mailing
from portal.models import OutgoingMail, Project, User
from portal.transitions import Overtaken
from tests.factories import (
    AllocationFactory,
    AllocationRequestFactory,
    HoldFactory,
    ReviewFactory,
    RunFactory,
)
from tests.pages import assert_like_nowhere, browser, queries_of, words

HOUR, JSON = 3600, "application/json"
DEEDS = ("suspend", "adjust", "caps", "report")


def url(allocation: Allocation, deed: str = "") -> str:
    return f"/allocations/{allocation.pk}/{deed}{'/' if deed else ''}"


def page(user: User, allocation: Allocation) -> str:
    return words(browser(user).get(url(allocation))).replace("\u202f", " ")


def days(count: int) -> Any:
    return timezone.now().date() + timedelta(days=count)


def dated(allocation: Allocation, start: int, end: int, grace: int = 0) -> Allocation:
    allocation.start, allocation.end, allocation.usable_until = days(start), days(end), days(end + grace)
    allocation.save()
    return allocation


# ── Where it stands ──────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("start", "end", "word", "sentence"),
    [
        (5, 90, "not begun yet", "5 000 GPU-hours can be used from"),
        (-5, 90, "active", "5 000 of 5 000 GPU-hours left until"),
        (-90, -5, "in grace", "the 5 000 GPU-hours left can be used until"),
        (
            -90,
            -20,
            "expired",
            "what is left expires as soon as no job holds any of it and no renewal is asked for",
        ),
    ],
)
def test_it_says_where_it_stands(
    mei: User, allocation: Allocation, start: int, end: int, word: str, sentence: str
) -> None:
    text = page(mei, dated(allocation, start, end, grace=14))
    assert word in text and sentence in text


def test_in_grace_the_project_counts_to_the_last_usable_day(mei: User, allocation: Allocation) -> None:
    one = dated(allocation, -90, -5, grace=14)
    text = words(browser(mei).get("/projects/squeezed-light/"))
    assert f"left until {date_format(one.usable_until, 'DATE_FORMAT')}" in text and "in grace" in text


def test_it_says_what_became_of_it(mei: User, allocation: Allocation) -> None:
    lifetimes.keep(dated(allocation, -90, -20).usable_until + timedelta(days=1))
    text = page(mei, allocation)
    assert "expired and settled" in text and "0 of 5 000 GPU-hours were used" in text
    assert "5 000 GPU-hours left expired." in text
    assert "expired 5 000 GPU-h" in text  # in the bar


def test_a_stranger_finds_nothing(otto: User, vera: User, fay: User, allocation: Allocation) -> None:
    for stranger in (otto, vera, fay):
        for deed in ("", *DEEDS):
            assert_like_nowhere(browser(stranger), url(allocation, deed))
            assert deed == "" or browser(stranger).post(url(allocation, deed)).status_code == 404


def test_a_member_reads_it_and_is_told_who_may_change_it(mei: User, allocation: Allocation) -> None:
    text = page(mei, allocation)
    assert "Ask the centre" not in text and "Suspend" not in text and "Set caps" not in text
    for deed, sentence in zip(
        DEEDS,
        ("suspend an allocation", "correct a balance", "each person may use", "progress report"),
        strict=True,
    ):
        refused = browser(mei).get(url(allocation, deed))
        assert refused.status_code == 403
        assert sentence in words(refused)


def test_a_pi_can_ask_for_all_that_can_be_asked(ivo: User, allocation: Allocation) -> None:
    text = browser(ivo).get(url(allocation)).content.decode()
    for kind in ("supplement", "extension", "renewal", "transfer"):
        assert f"/projects/squeezed-light/request/?kind={kind}&amp;allocation={allocation.pk}" in text


# ── The story ────────────────────────────────────────────────────────────────


def test_a_life_reads_as_a_story(
    project: Project, allocation: Allocation, ivo: User, mei: User, sam: User
) -> None:
    Policy.objects.create(cluster=allocation.cluster, carry_over_percent=10, grace_days=7)
    request = AllocationRequestFactory.create(
        project=project,
        cluster=allocation.cluster,
        created_by=ivo,
        gpu_hours=5000,
        start=days(-10),
        end=days(60),
    )
    review = ReviewFactory.create(
        request=request,
        reviewer=sam,
        gpu_seconds_awarded=4000 * HOUR,
        conditions="Name the centre in papers.",
    )
    one = carry_out(by=sam, request=request, review=review)
    supplement = ReviewFactory.create(
        request__kind=AllocationRequest.Kind.SUPPLEMENT, request__allocation=one, reviewer=sam
    )
    for part in (-1, 20):
        Tranche.objects.create(review=supplement, gpu_seconds=500 * HOUR, available_from=days(part))
    lifetimes.keep(days(0))
    extension = ReviewFactory.create(
        request__kind=AllocationRequest.Kind.EXTENSION,
        request__allocation=one,
        request__gpu_hours=0,
        request__end=days(80),
        reviewer=sam,
    )
    carry_out(by=sam, request=extension.request, review=extension)
    actions.suspend(by=sam, allocation=one, reason="Keys were shared.")
    actions.resume(by=sam, allocation=one)
    adjust(by=sam, allocation=one, gpu_seconds=-3 * HOUR, reason="Counted twice.")
    actions.write_report(by=ivo, allocation=one, text="It shone.")
    text = page(mei, one)
    for sentence in (
        "Sam Weber granted 4 000 GPU-hours of the 5 000 asked.",
        "500 GPU-hours of the award came free, as agreed.",
        "500 GPU-hours follow on",
        "Name the centre in papers.",
        "Sam Weber extended it until",
        "Sam Weber suspended it.",
        "Keys were shared.",
        "Sam Weber resumed it.",
        "Sam Weber took off 3 GPU-hours by hand.",
        "Counted twice.",
        "Ivo Petrov wrote the progress report.",
        "It shone.",
    ):
        assert sentence in text


def test_runs_stand_in_it_by_the_month(mei: User, allocation: Allocation) -> None:
    runs = RunFactory.create_batch(3)
    dated(allocation, -400, 100)
    record_runs(runs, cluster=allocation.cluster, as_of=timezone.now(), in_queue=())
    assert "6 GPU-hours were used by 3 runs in March 2026." in page(mei, allocation)


def test_a_transfer_names_the_other_side(
    project: Project, allocation: Allocation, mei: User, sam: User, ivo: User
) -> None:
    other = AllocationFactory.create(project__lab=project.lab, cluster=allocation.cluster)
    request = AllocationRequestFactory.create(
        kind=AllocationRequest.Kind.TRANSFER,
        project=project,
        cluster=allocation.cluster,
        allocation=allocation,
        to_project=other.project,
        consented_by=ivo,
        consented_at=timezone.now(),
        gpu_hours=12,
    )
    review = ReviewFactory.create(request=request, reviewer=sam)
    carry_out(by=sam, request=request, review=review)
    assert f"12 GPU-hours went to the project “{other.project}”." in page(mei, allocation)
    assert "12 GPU-hours came from the project “Squeezed light”." in page(mei, other)
    assert sum(LedgerEntry.objects.filter(kind="transfer").values_list("gpu_seconds", flat=True)) == 0


def test_it_takes_few_queries_however_long_its_life(allocation: Allocation, ivo: User, sam: User) -> None:
    few = queries_of(browser(ivo), url(allocation))
    assert few <= 15
    for _ in range(30):
        adjust(by=sam, allocation=allocation, gpu_seconds=HOUR, reason="Once more.")
        HoldFactory.create(allocation=allocation)
    assert queries_of(browser(ivo), url(allocation)) == few


def test_an_award_in_parts_says_which_came_at_once(
    mei: User, project: Project, allocation: Allocation
) -> None:
    request = AllocationRequestFactory.create(project=project, cluster=allocation.cluster)
    review = ReviewFactory.create(request=request, reviewer__name="Sam Weber")
    for part, hours in ((0, 400), (30, 600)):
        Tranche.objects.create(review=review, gpu_seconds=hours * HOUR, available_from=days(part))
    text = page(mei, carry_out(by=review.reviewer, request=request, review=review))
    assert "Sam Weber awarded 1 000 GPU-hours; 400 of them came at once." in text
    assert "600 GPU-hours follow on" in text


# ── Suspension ───────────────────────────────────────────────────────────────


def test_staff_suspend_it_with_a_reason_that_everybody_reads(
    sam: User, mei: User, ivo: User, allocation: Allocation, a100: Partition
) -> None:
    answer = browser(sam).post(url(allocation, "suspend"), {"reason": ""})
    assert "Say why" in words(answer)
    browser(sam).post(url(allocation, "suspend"), {"reason": "The agreement has run out."})
    for where in (url(allocation), "/projects/squeezed-light/"):
        text = words(browser(mei).get(where))
        assert "The agreement has run out." in text and "suspended" in text
    assert "The centre has suspended this project's GPU-hours" in words(browser(mei).get("/"))
    offer = quote(by=mei, project=allocation.project, partition=a100, gpus=1, time_limit_minutes=60)
    assert "suspended this project's hours on this cluster: “The agreement has run out.”" in offer.problem
    mail = mailing.message(OutgoingMail.objects.get())
    assert mail.to == ["ivo@example.org"]
    assert "The reason: The agreement has run out." in str(mail.body)


def test_a_hold_that_meets_a_suspension_is_refused(sam: User, allocation: Allocation) -> None:
    actions.suspend(by=sam, allocation=allocation, reason="Stop.")
    with pytest.raises(ledger.NotUsable):  # the allocation was read before
        ledger.hold(allocation, HOUR, reference="late")


def test_it_is_suspended_once_and_resumed(
    sam: User, mei: User, allocation: Allocation, a100: Partition
) -> None:
    actions.suspend(by=sam, allocation=allocation, reason="Stop.")
    with pytest.raises(Overtaken):
        actions.suspend(by=sam, allocation=allocation, reason="Stop again.")
    answer = browser(sam).post(url(allocation, "resume"), follow=True)
    assert "The allocation can be used again." in words(answer)
    offer = quote(by=mei, project=allocation.project, partition=a100, gpus=1, time_limit_minutes=60)
    assert not offer.problem


# ── Corrections and the report ───────────────────────────────────────────────


def test_staff_correct_a_balance_with_a_reason(sam: User, allocation: Allocation) -> None:
    typed = {"direction": "take", "gpu_hours": "12.5", "reason": ""}
    assert "a correction needs a reason" in words(browser(sam).post(url(allocation, "adjust"), typed))
    browser(sam).post(url(allocation, "adjust"), typed | {"reason": "Counted twice."})
    assert ledger.balance(allocation).granted == int(4987.5 * HOUR)


def test_a_pi_writes_the_report_and_adds_what_came_out(ivo: User, allocation: Allocation) -> None:
    where = url(allocation, "report")
    assert not ProgressReport.objects.filter(allocation=allocation).exists()
    browser(ivo).post(where, {"text": "We squeezed."})
    assert ProgressReport.objects.filter(allocation=allocation).exists()
    publication = {"doi": "https://doi.org/10.1000/182", "title": "Light, squeezed", "year": "2026"}
    answer = browser(ivo).post(where, {"text": "We squeezed more.", **publication}, follow=True)
    text = words(answer)
    assert "Light, squeezed (2026) 10.1000/182" in text and "We squeezed more." in text


def test_after_the_report_the_renewal_that_waited_for_it_is_next(ivo: User, allocation: Allocation) -> None:
    where, after = url(allocation, "report"), url(allocation)
    assert browser(ivo).post(where, {"text": "We squeezed."}).headers["Location"] == after
    begun = AllocationRequestFactory.create(
        kind=AllocationRequest.Kind.RENEWAL,
        state=AllocationRequest.State.DRAFT,
        project=allocation.project,
        cluster=allocation.cluster,
        allocation=allocation,
        created_by=ivo,
    )
    answer = browser(ivo).post(where, {"text": "We squeezed more."})
    assert answer.headers["Location"] == f"/requests/{begun.pk}/edit/"


def test_the_centre_reads_the_report_with_the_request_for_a_renewal(
    ivo: User, sam: User, allocation: Allocation
) -> None:
    actions.write_report(by=ivo, allocation=allocation, text="We squeezed light by 15 dB.")
    asked = AllocationRequestFactory.create(
        kind=AllocationRequest.Kind.RENEWAL,
        project=allocation.project,
        cluster=allocation.cluster,
        allocation=allocation,
        created_by=ivo,
    )
    assert "We squeezed light by 15 dB." in words(browser(sam).get(f"/requests/{asked.pk}/"))


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("text", "", "Tell the centre what was done"),
        ("doi", "182", "A DOI begins with 10."),
        ("year", "26", "Give the year in four digits"),
        ("title", "", "A publication needs a DOI, a title and a year."),
    ],
)
def test_a_wrong_report_says_why_and_keeps_the_rest(
    ivo: User, allocation: Allocation, field: str, value: str, sentence: str
) -> None:
    typed = {"text": "Kept words.", "doi": "10.1000/182", "title": "Light", "year": "2026", field: value}
    answer = browser(ivo).post(url(allocation, "report"), typed)
    assert sentence in words(answer)
    assert field == "text" or "Kept words." in answer.content.decode()
    assert not ProgressReport.objects.filter(allocation=allocation).exists()


def test_programs_see_its_state_and_report(ivo: User, sam: User, allocation: Allocation) -> None:
    where = f"/api/v1/allocations/{allocation.pk}/"
    assert browser(ivo).get(where).json()["state"] == "active"
    suspended = browser(sam).post(f"{where}suspend/", {"reason": "Stop."}, content_type=JSON)
    assert (suspended.json()["state"], suspended.json()["suspension_reason"]) == ("suspended", "Stop.")
    assert browser(sam).post(f"{where}suspend/", {"reason": "Stop."}, content_type=JSON).status_code == 409
    assert browser(sam).post(f"{where}resume/", {}, content_type=JSON).json()["state"] == "active"
    assert browser(ivo).get(f"{where}report/").json() == {"text": "", "written_at": None}
    browser(ivo).put(f"{where}report/", {"text": "It works."}, content_type=JSON)
    assert browser(sam).get(f"{where}report/").json()["text"] == "It works."
