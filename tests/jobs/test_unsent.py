"""Jobs that could not be sent go to staff, once, who send them again or give them up; and who submits too much waits."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client, TestCase
from django.utils import timezone
from pytest_django.fixtures import Settings

from accounting import ledger
from accounting.models import Allocation, Partition
from jobs import actions, lifecycle, pressure, setting_aside, upkeep
from jobs.models import MAX_ATTEMPTS, Job
from jobs.pressure import Busy
from jobs.states import State
from portal.models import AuditEvent, OutgoingMail, Project, User
from portal.transitions import Overtaken
from tests.conftest import Bell
from tests.factories import AllocationFactory, ClusterFactory, JobFactory
from tests.jobs.at_hand import filled_in, uploaded
from tests.pages import browser, words

URL = "/jobs/unsent/"
API = "/api/v1/unsent/"


@pytest.fixture
def job(mei: User, sam: User, project: Project, a100: Partition, allocation: Allocation) -> Job:
    """Submitted, with its hold."""
    return actions.create_and_submit(
        by=mei,
        project=project,
        partition=a100,
        name="Fringe fit",
        gpus=2,
        time_limit_minutes=60,
        script=uploaded(mei),
        inputs=[],
    )


@pytest.fixture
def aside(job: Job) -> Job:
    fail(job, MAX_ATTEMPTS)
    return job


def fail(job: Job, times: int) -> None:
    for _try in range(times):
        job.refresh_from_db()
        assert lifecycle.claim([job])
        setting_aside.try_less(job, "DiskFull", "1 / 2")


def test_it_is_tried_five_times_and_then_staff_are_told_once(job: Job, sam: User) -> None:
    fail(job, MAX_ATTEMPTS - 1)
    assert not OutgoingMail.objects.filter(template="job_set_aside").exists()
    fail(job, 1)
    assert OutgoingMail.objects.get(template="job_set_aside").recipient == sam
    job.refresh_from_db()
    assert job.state == "new"
    assert ledger.balance(job.allocation).held > 0, "it is kept"


def test_staff_see_it_with_the_reason_and_its_owner_that_they_were_told(
    aside: Job, sam: User, mei: User
) -> None:
    page = words(browser(sam).get(URL))
    assert "Fringe fit" in page
    assert "has no room for the job's files" in page
    assert "Send again" in page
    assert "The centre's staff were told" in words(browser(mei).get(f"/jobs/{aside.pk}/"))


def test_without_any_it_says_so(sam: User) -> None:
    assert "Every job was sent" in words(browser(sam).get(URL))


def test_sent_again_it_has_all_its_tries(aside: Job, sam: User, bell: Bell) -> None:
    with TestCase.captureOnCommitCallbacks(execute=True):
        browser(sam).post(f"{URL}{aside.pk}/send-again/")
    aside.refresh_from_db()
    assert (aside.attempts, aside.not_before) == (0, None)
    assert ("jobs.tasks.dispatch", (aside.cluster_id,)) in bell.rings
    assert AuditEvent.objects.filter(action="job sent again", actor=sam).exists()
    fail(aside, MAX_ATTEMPTS)
    assert OutgoingMail.objects.filter(template="job_set_aside").count() == 2, "once for each time"


def test_given_up_its_hours_are_free_and_its_owner_reads_why(aside: Job, sam: User, mei: User) -> None:
    client = browser(sam)
    assert "Say why" in words(client.post(f"{URL}{aside.pk}/give-up/", {"reason": ""}))
    page = words(
        client.post(f"{URL}{aside.pk}/give-up/", {"reason": "Its files are too large."}, follow=True)
    )
    assert "“Fringe fit” is given up" in page
    aside.refresh_from_db()
    assert (aside.state, aside.reason, ledger.balance(aside.allocation).held) == ("failed", "GivenUp", 0)
    assert OutgoingMail.objects.get(template="job_given_up").recipient == mei
    assert "Its files are too large." in words(browser(mei).get(f"/jobs/{aside.pk}/"))
    assert AuditEvent.objects.filter(action="job given up", actor=sam).exists()
    assert "Somebody was faster" in words(
        client.post(f"{URL}{aside.pk}/give-up/", {"reason": "Again."}, follow=True)
    )


def test_one_that_is_still_tried_is_left_alone(job: Job, sam: User) -> None:
    with pytest.raises(Overtaken):
        upkeep.send_again(by=sam, job=job)
    with pytest.raises(Overtaken):
        upkeep.give_up(by=sam, job=job, reason="Too slow.")


@pytest.mark.parametrize("who", ["mei", "ivo", "ada", "ann", "fay", "otto"])
def test_it_is_for_the_staff(who: str, request: pytest.FixtureRequest, aside: Job) -> None:
    client = browser(request.getfixturevalue(who))
    assert client.get(URL).status_code == 403
    assert client.post(f"{URL}{aside.pk}/send-again/").status_code == 403
    assert client.post(f"{URL}{aside.pk}/give-up/", {"reason": "No."}).status_code == 403


def test_programs_do_the_same(aside: Job, sam: User) -> None:
    client = browser(sam)
    assert [one["id"] for one in client.get(API).json()["results"]] == [aside.pk]
    body: dict[str, Any] = {"content_type": "application/json"}
    assert client.post(f"{API}{aside.pk}/give-up/", {}, **body).status_code == 400
    assert client.post(f"{API}{aside.pk}/give-up/", {"reason": "No."}, **body).status_code == 204
    assert client.post(f"{API}{aside.pk}/send-again/", {}, **body).status_code == 404


# ── Too much at once ────────────────────────────────────────────────────────


@pytest.fixture
def page(mei: User, allocation: Allocation) -> Iterator[Client]:
    yield browser(mei)


@pytest.mark.parametrize(
    ("limit", "sentence"),
    [
        ("JOBS_UNSENT_PER_PERSON", "2 of your jobs wait to be sent"),
        ("JOBS_UNSENT_PER_PROJECT", "2 jobs of this project wait to be sent"),
        ("JOBS_UNSENT_PER_CLUSTER", "2 jobs wait to be sent to Firefly"),
        ("SUBMISSIONS_PER_MINUTE", "You submitted 2 jobs within a minute"),
    ],
)
def test_above_a_limit_one_comes_back_later_and_loses_nothing(
    page: Client,
    mei: User,
    project: Project,
    a100: Partition,
    allocation: Allocation,
    settings: Settings,
    limit: str,
    sentence: str,
) -> None:
    for _job in range(2):
        JobFactory.create(owner=mei, allocation=allocation, partition=a100)
    setattr(settings, limit, 2)
    answer = page.post("/jobs/new/", filled_in(project, a100, uploaded(mei), name="Not lost"))
    assert answer.status_code == 429
    assert 1 <= int(answer["Retry-After"]) <= 60
    assert sentence in words(answer)
    assert "Not lost" in answer.content.decode()
    assert Job.objects.count() == 2
    assert ledger.balance(allocation).held == 0


def test_programs_get_a_problem_document(
    page: Client, mei: User, project: Project, a100: Partition, settings: Settings
) -> None:
    settings.JOBS_UNSENT_PER_PERSON = 0
    body = {
        "name": "x",
        "project": project.slug,
        "cluster": "firefly",
        "partition": a100.name,
        "gpus": 1,
        "time_limit_minutes": 5,
        "script": str(uploaded(mei).pk),
        "inputs": [],
    }
    answer = page.post("/api/v1/jobs/", body, content_type="application/json")
    assert (answer.status_code, answer["Content-Type"]) == (429, "application/problem+json")
    assert answer["Retry-After"] == "30"
    assert "wait to be sent" in answer.json()["detail"]


def test_the_same_button_pressed_twice_is_no_second_job(
    job: Job, mei: User, project: Project, a100: Partition, settings: Settings
) -> None:
    settings.JOBS_UNSENT_PER_PERSON = 1
    shape: dict[str, Any] = {"project": project, "partition": a100, "gpus": 2, "time_limit_minutes": 60}
    same = actions.create_and_submit(
        by=mei, name="Fringe fit", script=uploaded(mei), inputs=[], token=job.token, **shape
    )
    assert same == job
    with pytest.raises(Busy):
        actions.create_and_submit(by=mei, name="Another", script=uploaded(mei), inputs=[], **shape)


def test_each_limit_counts_its_own(mei: User, a100: Partition, allocation: Allocation) -> None:
    """What a person has not ended, and what was not sent of the person, the project and the cluster."""
    cluster, here = allocation.cluster, {"allocation": allocation, "partition": a100}
    JobFactory.create(owner=mei, **here)
    JobFactory.create(owner=mei, state=State.QUEUED, scheduler_id="1", **here)
    JobFactory.create(owner=mei, state=State.SUCCEEDED, scheduler_id="2", **here)
    JobFactory.create(owner=mei, allocation=AllocationFactory.create(cluster=ClusterFactory.create()))
    JobFactory.create_batch(2, state=State.SUBMITTING, **here)
    JobFactory.create(state=State.RUNNING, scheduler_id="3", **here)
    JobFactory.create_batch(4, allocation=AllocationFactory.create(cluster=cluster), partition=a100)
    JobFactory.create(allocation=AllocationFactory.create(cluster=ClusterFactory.create()))
    found = pressure.under_way(mei, allocation.project, cluster)
    assert found == {"unfinished": 3, "mine": 2, "ours": 3, "all": 7}


def test_after_a_minute_the_pace_is_forgotten(
    mei: User, a100: Partition, allocation: Allocation, settings: Settings, page: Client, project: Project
) -> None:
    settings.SUBMISSIONS_PER_MINUTE = 1
    JobFactory.create(
        owner=mei, allocation=allocation, partition=a100, created_at=timezone.now() - timedelta(seconds=61)
    )
    assert page.post("/jobs/new/", filled_in(project, a100, uploaded(mei))).status_code == 302
