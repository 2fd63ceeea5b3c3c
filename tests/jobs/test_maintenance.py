"""Maintenance of a cluster: staff set it, members read of it, jobs are kept, and nobody asks the cluster anything."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client, TestCase
from django.utils import timezone

from accounting.models import Cluster, Maintenance, Partition
from jobs import collecting, health, probing, sync
from jobs.models import ClusterHealth, Job
from jobs.sweep import overdue
from portal.models import AuditEvent, Project, User
from tests.conftest import Bell
from tests.factories import JobFactory
from tests.jobs.at_hand import filled_in, uploaded
from tests.pages import browser, queries_of, words

URL = "/jobs/clusters/firefly/maintenance/"
API = "/api/v1/clusters/firefly/maintenance/"


def at(hours: float) -> datetime:
    return timezone.now() + timedelta(hours=hours)


def typed(begin: float = -1, end: float = 2, sentence: str = "New switches.") -> dict[str, str]:
    return {
        "begins_at": f"{at(begin):%Y-%m-%dT%H:%M}",
        "until": f"{at(end):%Y-%m-%dT%H:%M}",
        "sentence": sentence,
    }


@pytest.fixture
def staff(sam: User, firefly: Cluster) -> Client:
    return browser(sam)


@pytest.fixture
def lasting(sam: User, firefly: Cluster) -> Maintenance:
    ClusterHealth.objects.create(cluster=firefly, answered_at=timezone.now())
    return Maintenance.objects.create(
        cluster=firefly, begins_at=at(-1), until=at(2), sentence="New switches.", set_by=sam
    )


def test_staff_set_it_and_it_is_in_the_audit(staff: Client, sam: User, firefly: Cluster) -> None:
    page = words(staff.post(URL, typed(), follow=True))
    assert "The maintenance has begun" in page
    assert "under way" in page
    made = Maintenance.objects.get()
    assert (made.cluster, made.sentence, made.set_by) == (firefly, "New switches.", sam)
    assert AuditEvent.objects.filter(action="maintenance set", actor=sam).exists()


@pytest.mark.parametrize(
    ("changed", "field", "sentence"),
    [
        ({"sentence": ""}, "sentence", "Say what is done"),
        ({"until": "soon"}, "until", "Give a day and a time"),
        ({"until": ""}, "until", "This field is required."),
        (typed(2, 1), "until", "It has to end after it begins."),
        (typed(-3, -1), "until", "This is over already."),
        (typed(1, 24 * 40), "until", "At most 31 days at once."),
        (
            {"begins_at": "9999-12-31T00:00", "until": "9999-12-31T23:59"},
            "begins_at",
            "At most a year ahead.",
        ),
    ],
)
def test_a_bad_one_says_why_and_keeps_what_was_typed(
    staff: Client, changed: dict[str, str], field: str, sentence: str
) -> None:
    data = typed() | changed
    response = staff.post(URL, data)
    assert response.status_code == 200
    assert sentence in words(response)
    assert field in response.context["form"].errors
    assert response.context["form"].data["begins_at"] == data["begins_at"]
    assert not Maintenance.objects.exists()


def test_two_at_once_are_refused(staff: Client, lasting: Maintenance) -> None:
    assert "It would meet another maintenance" in words(staff.post(URL, typed(1, 5)))
    staff.post(URL, typed(3, 5))
    assert Maintenance.objects.count() == 2


@pytest.mark.parametrize("who", ["mei", "ivo", "ada", "ann", "fay", "otto"])
def test_it_is_for_the_staff(who: str, request: pytest.FixtureRequest, firefly: Cluster) -> None:
    client = browser(request.getfixturevalue(who))
    assert client.get(URL).status_code == 403
    assert client.post(URL, typed()).status_code == 403


def test_it_asks_again_who_is_there(sam: User, firefly: Cluster) -> None:
    client = Client()
    client.force_login(sam)
    assert client.post(URL, typed()).status_code == 302
    assert not Maintenance.objects.exists()
    answer = client.post(API, typed(), content_type="application/json")
    assert answer.status_code == 403
    assert "Confirm first" in answer.json()["detail"]


# ── While it lasts ──────────────────────────────────────────────────────────


def test_nothing_is_sent_or_asked(
    lasting: Maintenance, firefly: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(_name: str) -> Any:
        raise AssertionError("the cluster was asked")

    monkeypatch.setattr(sync, "connect_to", never)
    assert not health.may_try(firefly.pk)
    assert (sync.due(), sync.clusters(), probing.due(), collecting.due()) == ([], [], [], [])
    assert sync.poll(firefly.pk) == []


def test_a_job_is_taken_kept_and_says_so(
    lasting: Maintenance, mei: User, project: Project, a100: Partition, allocation: object
) -> None:
    client = browser(mei)
    assert client.post("/jobs/new/", filled_in(project, a100, uploaded(mei))).status_code == 302
    job = Job.objects.get()
    assert job.state == "new"
    told = words(client.get(f"/jobs/{job.pk}/"))
    assert "Firefly is under maintenance until" in told
    assert "New switches. Jobs are taken and kept, and sent afterwards." in told
    assert "New switches." in client.get(f"/api/v1/jobs/{job.pk}/").json()["notice"]


@pytest.mark.parametrize("url", ["/", "/jobs/new/"])
def test_members_read_of_it(lasting: Maintenance, mei: User, allocation: object, url: str) -> None:
    page = words(browser(mei).get(url))
    assert "Firefly is under maintenance until" in page
    assert "Firefly: maintenance" in page


@pytest.mark.parametrize("url", ["/", "/jobs/new/"])
def test_one_to_come_is_told_three_days_before(
    sam: User, mei: User, allocation: object, firefly: Cluster, url: str
) -> None:
    for begin in (24 * 5, 24 * 2):
        Maintenance.objects.create(
            cluster=firefly, begins_at=at(begin), until=at(begin + 1), sentence=f"In {begin}.", set_by=sam
        )
    page = words(browser(mei).get(url))
    assert "In 48." in page
    assert "In 120." not in page
    assert health.may_try(firefly.pk)


def test_what_it_keeps_is_not_told_to_staff_as_trouble(
    staff: Client, lasting: Maintenance, a100: Partition
) -> None:
    JobFactory.create(allocation__cluster=a100.cluster, partition=a100, created_at=at(-0.5))
    assert "Every job was sent" in words(staff.get("/jobs/unsent/"))
    Maintenance.objects.update(until=timezone.now())
    assert "It is still tried." in words(staff.get("/jobs/unsent/"))


def test_when_it_ends_what_was_kept_is_rung_for(
    staff: Client, sam: User, lasting: Maintenance, a100: Partition, bell: Bell
) -> None:
    JobFactory.create(allocation__cluster=a100.cluster, partition=a100)
    with TestCase.captureOnCommitCallbacks(execute=True):
        staff.post(f"{URL}{lasting.pk}/end/")
    assert bell.rang("jobs.tasks.dispatch") == [(a100.cluster_id,)]
    assert health.may_try(a100.cluster_id)
    assert ("dispatch", a100.cluster_id) in set(overdue())
    assert AuditEvent.objects.filter(action="maintenance ended", actor=sam).exists()
    assert "Somebody was faster" in words(staff.post(f"{URL}{lasting.pk}/end/", follow=True))


def test_it_ends_by_itself(lasting: Maintenance, firefly: Cluster) -> None:
    Maintenance.objects.update(until=timezone.now())
    assert health.may_try(firefly.pk)
    assert sync.due() == [firefly.pk]


def test_programs_set_list_and_end_it(staff: Client) -> None:
    made = staff.post(
        API, {**typed(), "begins_at": f"{at(1):%Y-%m-%dT%H:%M:%SZ}"}, content_type="application/json"
    )
    assert made.status_code == 201
    pk = made.json()["id"]
    assert [one["id"] for one in staff.get(API).json()["results"]] == [pk]
    again = staff.post(API, typed(1, 2), content_type="application/json")
    assert (again.status_code, list(again.json()["errors"])) == (400, ["begins_at"])
    end = f"/api/v1/maintenance/{pk}/end/"
    assert staff.post(end, {}, content_type="application/json").json()["ended_at"]
    assert staff.post(end, {}, content_type="application/json").status_code == 409


# ── Honest banners ──────────────────────────────────────────────────────────


@pytest.mark.parametrize("url", ["/", "/jobs/new/"])
def test_a_silent_cluster_is_told_with_what_becomes_of_jobs(
    mei: User, allocation: object, firefly: Cluster, url: str
) -> None:
    ClusterHealth.objects.create(cluster=firefly, answered_at=at(-0.1), failures=3)
    page = words(browser(mei).get(url))
    assert "Firefly has not answered since" in page
    assert "Jobs are taken and kept, and sent as soon as it answers; none is lost." in page
    assert "was last confirmed" in page


def test_old_news_are_told_as_old_also_when_nothing_failed(
    mei: User, allocation: object, firefly: Cluster
) -> None:
    ClusterHealth.objects.create(cluster=firefly, answered_at=at(-1))
    page = words(browser(mei).get("/"))
    assert "Jobs on Firefly: last confirmed" in page
    assert "Firefly: last answer 1 h ago" in page


def test_fresh_news_need_no_banner(mei: User, allocation: object, firefly: Cluster) -> None:
    ClusterHealth.objects.create(cluster=firefly, answered_at=timezone.now())
    assert "last confirmed" not in words(browser(mei).get("/"))


def test_the_pages_of_staff_take_few_queries(staff: Client, lasting: Maintenance) -> None:
    assert max(queries_of(staff, url) for url in (URL, "/jobs/health/", "/jobs/unsent/")) <= 15
