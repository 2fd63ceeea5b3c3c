"""The PI says how much of an allocation each person may use, and nobody gets past it: charges and holds together."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.core.exceptions import PermissionDenied
from django.db import connection, transaction
from django.utils import timezone

from accounting import ledger
from accounting.actions.caps import capped_people, set_caps
from accounting.ledger import OverCap
from accounting.models import Allocation, Hold, Partition, PersonCap
from accounting.usage import Attribution, record_runs
from jobs.actions import Refused, create_and_submit
from jobs.quoting import quote
from portal.models import Project, User
from tests.factories import AllocationFactory, MembershipFactory, RunFactory
from tests.jobs.at_hand import uploaded
from tests.pages import browser, queries_of, words

HOUR = 3600


@pytest.fixture
def capped(allocation: Allocation, ivo: User, mei: User) -> Allocation:
    """mei may use ten GPU-hours."""
    set_caps(by=ivo, allocation=allocation, caps={mei: 10 * HOUR})
    return allocation


def hold(allocation: Allocation, person: User, hours: int, reference: str = "job") -> Hold:
    with transaction.atomic():
        return ledger.hold(allocation, hours * HOUR, reference=reference, person=person)


def ran(allocation: Allocation, person: User, hours: int) -> None:
    start = timezone.now() - timedelta(days=5)
    run = RunFactory.create(start=start, end=start + timedelta(hours=hours), gpus=1)
    record_runs(
        [run],
        cluster=allocation.cluster,
        as_of=timezone.now(),
        in_queue=(),
        attribute=lambda runs: lambda run: Attribution(person_id=person.pk),
    )


def test_charges_and_holds_count_together(capped: Allocation, mei: User) -> None:
    ran(capped, mei, 4)
    hold(capped, mei, 5)
    with pytest.raises(OverCap) as refused:
        hold(capped, mei, 2, "one too many")
    assert (refused.value.allowance.used, refused.value.allowance.held) == (4 * HOUR, 5 * HOUR)
    hold(capped, mei, 1, "fits")


def test_others_and_other_allocations_are_free(capped: Allocation, mei: User, ivo: User) -> None:
    other = AllocationFactory.create(project=capped.project, cluster=capped.cluster)
    hold(capped, ivo, 100, "ivo's")
    hold(other, mei, 100, "elsewhere")


def test_a_hold_that_came_back_can_be_taken_again(capped: Allocation, mei: User) -> None:
    hold(capped, mei, 10, "first")
    ledger.release("first")
    hold(capped, mei, 10, "second")


def test_a_job_is_refused_with_the_numbers(
    capped: Allocation, project: Project, a100: Partition, mei: User
) -> None:
    with pytest.raises(Refused) as refused:
        create_and_submit(
            by=mei,
            project=project,
            partition=a100,
            name="long",
            gpus=8,
            time_limit_minutes=120,
            script=uploaded(mei, "run.sh"),
            inputs=[],
        )
    assert "up to 16.00 GPU-hours, but of the 10.00 that your PI lets you use, 10.00 are left" in str(
        refused.value
    )
    assert not Hold.objects.exists()


def test_a_quote_takes_an_allocation_without_a_cap_if_there_is_one(
    capped: Allocation, project: Project, a100: Partition, mei: User
) -> None:
    other = AllocationFactory.create(
        project=project, cluster=capped.cluster, end=capped.end + timedelta(days=9)
    )
    small = quote(by=mei, project=project, partition=a100, gpus=8, time_limit_minutes=60)
    large = quote(by=mei, project=project, partition=a100, gpus=16, time_limit_minutes=60)
    assert (small.allocation, small.left) == (capped, 10 * HOUR)
    assert (large.allocation, large.allowance, large.problem) == (other, None, "")


def test_the_submit_page_says_what_is_left_for_me(
    capped: Allocation, project: Project, a100: Partition, mei: User, ivo: User
) -> None:
    typed = {"project": project.pk, "partition": a100.pk, "gpus": "2", "hours": "1", "minutes": "0"}
    assert "You can use 10 GPU-h more: your PI lets you use 10 GPU-h." in words(
        browser(mei).post("/jobs/new/check/", typed)
    ).replace("\u202f", " ")
    assert "your PI lets you" not in words(browser(ivo).post("/jobs/new/check/", typed))


def test_a_cap_is_set_changed_and_taken_away(capped: Allocation, ivo: User, mei: User) -> None:
    set_caps(by=ivo, allocation=capped, caps={mei: 0})
    assert PersonCap.objects.get().gpu_seconds == 0
    set_caps(by=ivo, allocation=capped, caps={mei: None})
    assert not PersonCap.objects.exists()


def test_only_the_pi_sets_caps(capped: Allocation, mei: User, ada: User, sam: User) -> None:
    for person in (mei, ada, sam):
        with pytest.raises(PermissionDenied, match="Only the lab's PI"):
            set_caps(by=person, allocation=capped, caps={mei: None})


def test_who_left_keeps_a_cap_that_can_be_changed(capped: Allocation, mei: User, ivo: User) -> None:
    mei.memberships.update(ended_at=timezone.now())
    assert set(capped_people(capped)) == {mei, ivo}


@pytest.mark.django_db(transaction=True)
def test_fifty_at_once_against_a_cap_for_ten_are_exactly_ten(capped: Allocation, mei: User) -> None:
    def submit(number: int) -> bool:
        try:
            hold(capped, mei, 1, f"job {number}")
        except OverCap:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(max_workers=16) as threads:
        taken = list(threads.map(submit, range(50)))
    assert taken.count(True) == 10
    assert ledger.allowances([capped], mei)[capped.pk].left == 0


# ── The page and the API ─────────────────────────────────────────────────────


def test_the_pi_types_them(allocation: Allocation, ivo: User, mei: User) -> None:
    url = f"/allocations/{allocation.pk}/caps/"
    assert "Mei Lin" in words(browser(ivo).get(url))
    answer = browser(ivo).post(url, {f"cap_{mei.pk}": "12.5", f"cap_{ivo.pk}": ""}, follow=True)
    assert PersonCap.objects.get().gpu_seconds == 12.5 * HOUR
    assert "Ivo Petrov lets Mei Lin use at most 12.50 GPU-hours." in words(answer)
    assert 'value="12.5"' in browser(ivo).get(url).content.decode()


def test_a_wrong_cap_gets_its_sentence_and_the_rest_is_kept(
    allocation: Allocation, ivo: User, mei: User
) -> None:
    typed = {f"cap_{mei.pk}": "lots", f"cap_{ivo.pk}": "7"}
    answer = browser(ivo).post(f"/allocations/{allocation.pk}/caps/", typed)
    assert "Type the hours in digits" in words(answer)
    assert 'value="lots"' in answer.content.decode() and 'value="7"' in answer.content.decode()
    assert not PersonCap.objects.exists()


def test_a_program_puts_and_gets_them(allocation: Allocation, ivo: User, mei: User, otto: User) -> None:
    url, client = f"/api/v1/allocations/{allocation.pk}/caps/", browser(ivo)
    body = {"caps": [{"person": mei.pk, "gpu_seconds": 3600}]}
    mine = {"person": mei.pk, "name": "Mei Lin", "gpu_seconds": 3600, "used": 0, "held": 0}
    assert client.put(url, body, content_type="application/json").json() == [mine]
    assert client.get(url).json() == [mine]
    body = {"caps": [{"person": otto.pk, "gpu_seconds": 3600}]}
    refused = client.put(url, body, content_type="application/json")
    assert refused.status_code == 400
    assert refused.json()["errors"] == {"caps": ["Somebody named here does not work in this lab."]}


def test_the_pages_take_the_same_queries_for_many_people(capped: Allocation, ivo: User, mei: User) -> None:
    urls = [f"/allocations/{capped.pk}/", f"/allocations/{capped.pk}/caps/"]
    before = [queries_of(browser(ivo), url) for url in urls]
    lab = capped.project.lab
    for membership in MembershipFactory.create_batch(30, lab=lab):
        PersonCap.objects.create(allocation=capped, user=membership.user, gpu_seconds=HOUR, set_by=ivo)
    assert [queries_of(browser(ivo), url) for url in urls] == before
    assert max(before) <= 15
