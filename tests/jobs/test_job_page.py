"""The page of one job: its life, its reason in words, its log; who may see what; and the wish to end it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client, TestCase
from django.utils import timezone

from accounting import ledger
from accounting.models import Allocation, Partition, UsageRecord
from jobs.models import ClusterHealth, Job, JobFile, LogTail
from jobs.states import State
from portal.models import User
from tests.conftest import Bell
from tests.factories import JobFactory
from tests.pages import words

PARTS = ("", "news/", "side/", "log/stdout/")
ClientFor = Callable[[User], Client]


@pytest.fixture
def running(mei: User, allocation: Allocation, a100: Partition) -> Job:
    now = timezone.now()
    job = JobFactory.create(
        owner=mei,
        allocation=allocation,
        name="Fringe fit",
        state=State.RUNNING,
        scheduler_id="4711",
        queued_at=now - timedelta(minutes=50),
        started_at=now - timedelta(minutes=30),
        confirmed_at=now,
        partition=a100,
    )
    JobFile.objects.create(job=job, kind=JobFile.Kind.SCRIPT, path="secret-script.sh", size=10)
    LogTail.objects.create(
        job=job, stream="stdout", text="epoch 1 <img src=x onerror=alert(1)>\n", offset=37, read_at=now
    )
    return job


def at(job: Job, part: str = "") -> str:
    return f"/jobs/{job.pk}/{part}"


def ended(job: Job, state: State = State.SUCCEEDED, **facts: Any) -> Job:
    Job.objects.filter(pk=job.pk).update(state=state, ended_at=timezone.now(), **facts)
    job.refresh_from_db()
    return job


def run_of(job: Job, state: str, **facts: Any) -> UsageRecord:
    """One record of the scheduler's accounting about the job."""
    known = {
        "cluster": job.cluster,
        "identity": str(UsageRecord.objects.count()),
        "job_id_raw": job.scheduler_id,
        "job_id": job.scheduler_id,
        "state": state,
        "gpus": job.gpus,
        "submit": job.created_at,
        "gpu_seconds": 600,
    }
    return UsageRecord.objects.create(**known | facts)


@pytest.mark.parametrize("part", PARTS)
def test_its_owner_sees_it(mei: User, running: Job, client_for: ClientFor, part: str) -> None:
    assert client_for(mei).get(at(running, part)).status_code == 200


def test_it_tells_state_life_and_cost(mei: User, running: Job, client_for: ClientFor) -> None:
    response = client_for(mei).get(at(running))
    shown = response.content.decode()
    assert [step.state for step in response.context["steps"]] == ["done", "done", "now", "next"]
    assert "It is running." in shown
    assert "Only the time it ran is charged" not in shown
    assert response.context["cost"].running == pytest.approx(2 * 30 * 60, abs=10)
    assert "secret-script.sh" in shown


def test_the_log_is_shown_escaped_and_asks_the_worker_to_read_on(
    mei: User, running: Job, client_for: ClientFor, bell: Bell
) -> None:
    LogTail.objects.update(read_at=timezone.now() - timedelta(seconds=5))
    with TestCase.captureOnCommitCallbacks(execute=True):
        response = client_for(mei).get(at(running, "log/stdout/"))
    assert response.content.decode() == "epoch 1 &lt;img src=x onerror=alert(1)&gt;\n"
    assert bell.rang("jobs.tasks.read_logs") == [(running.pk,)]


def test_a_log_without_news_is_not_sent_again(mei: User, running: Job, client_for: ClientFor) -> None:
    client = client_for(mei)
    first = client.get(at(running, "log/stdout/"))
    again = client.get(at(running, "log/stdout/"), headers={"If-None-Match": first["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    LogTail.objects.update(text="epoch 1\nepoch 2\n", offset=50)
    assert client.get(at(running, "log/stdout/"), headers={"If-None-Match": first["ETag"]}).status_code == 200


@pytest.fixture
def sweep(running: Job) -> Job:
    """30 tasks: 0 done, 1 failed, 2 runs, the others wait."""
    Job.objects.filter(pk=running.pk).update(tasks=30, tasks_at_once=1, task_states="sfr" + "w" * 27)
    running.refresh_from_db()
    run_of(running, "COMPLETED", job_id="4711_0", exit_code="0:0")
    run_of(running, "FAILED", job_id="4711_1", exit_code="1:0", gpu_seconds=7200)
    run_of(running, "RUNNING", job_id="4711_2", exit_code="0:0", provisional=True, gpu_seconds=900)
    return running


def test_a_sweep_says_where_its_tasks_are(mei: User, sweep: Job, client_for: ClientFor) -> None:
    response = client_for(mei).get(at(sweep))
    shown = words(response)
    assert "1 done · 1 failed · 1 running · 27 waiting" in shown
    assert "30, at most 1 at once" in shown
    assert "1–20 of 30 tasks" in shown
    rows = [
        (one.number, one.state.label, one.gpu_seconds, one.exit_code) for one in response.context["tasks"]
    ]
    assert rows[:4] == [
        (0, "done", 600, "0:0"), (1, "failed", 7200, "1:0"), (2, "running", 900, ""), (3, "waiting", 0, ""),
    ]  # fmt: skip
    assert response.context["cost"].running == 900
    assert response.context["cost"].worst == 30 * 2 * 3600


def test_a_task_that_failed_by_the_schedulers_hand_says_so(
    mei: User, sweep: Job, client_for: ClientFor
) -> None:
    UsageRecord.objects.filter(job_id="4711_1").update(state="TIMEOUT", exit_code="0:0")
    assert "failed TIMEOUT" in words(client_for(mei).get(at(sweep, "tasks/")))


def test_its_tasks_are_paged_and_stay_fresh(mei: User, sweep: Job, client_for: ClientFor) -> None:
    client = client_for(mei)
    assert f"/jobs/{sweep.pk}/tasks/?page=2" in client.get(at(sweep, "?page=2")).content.decode()
    part = client.get(at(sweep, "tasks/?page=2"))
    assert [one.number for one in part.context["tasks"]] == list(range(20, 30))
    assert part.status_code == 200
    ended(sweep, outputs_listed_at=timezone.now())
    assert client.get(at(sweep, "tasks/")).status_code == 286


def test_each_task_has_a_log(mei: User, sweep: Job, client_for: ClientFor, bell: Bell) -> None:
    client = client_for(mei)
    LogTail.objects.create(job=sweep, stream="stderr", task=3, text="of the third\n")
    shown = client.get(at(sweep, "?task=3&stream=stderr")).content.decode()
    assert f"/jobs/{sweep.pk}/log/stderr/?task=3" in shown
    assert "Log of task 3" in shown
    assert client.get(at(sweep, "log/stderr/?task=3")).content.decode() == "of the third\n"
    for task in ("30", "-1", "x", "３"):
        assert client.get(at(sweep, f"log/stdout/?task={task}")).status_code == 404
        assert "Log of task 0" in client.get(at(sweep, f"?task={task}")).content.decode()


def test_once_a_sweep_has_ended_the_log_of_the_first_that_failed_is_shown(
    mei: User, sweep: Job, client_for: ClientFor
) -> None:
    assert client_for(mei).get(at(sweep)).context["task"] == 0
    ended(sweep, state=State.FAILED)
    assert client_for(mei).get(at(sweep)).context["task"] == 1
    assert client_for(mei).get(at(sweep, "?task=0")).context["task"] == 0


def test_a_plain_job_has_no_tasks(mei: User, running: Job, client_for: ClientFor) -> None:
    client = client_for(mei)
    assert "Tasks" not in words(client.get(at(running)))
    assert client.get(at(running, "tasks/")).status_code == 404


@pytest.mark.parametrize("stream", ["stdin", "..", "passwd"])
def test_there_are_two_streams(mei: User, running: Job, client_for: ClientFor, stream: str) -> None:
    assert client_for(mei).get(at(running, f"log/{stream}/")).status_code == 404


def test_the_page_stops_asking_when_nothing_will_change(
    mei: User, running: Job, client_for: ClientFor
) -> None:
    client = client_for(mei)
    ended(running)
    assert [client.get(at(running, part)).status_code for part in PARTS] == [200, 200, 200, 200]
    ended(running, outputs_listed_at=timezone.now())
    LogTail.objects.update(read_at=timezone.now())
    assert [client.get(at(running, part)).status_code for part in PARTS] == [200, 286, 286, 286]
    assert f'hx-get="{at(running, "news/")}"' not in client.get(at(running)).content.decode()


def test_a_log_read_in_the_schedulers_last_second_is_read_once_more(
    mei: User, running: Job, client_for: ClientFor, bell: Bell
) -> None:
    """The scheduler's End is cut to the second: the job wrote on after it."""
    now = timezone.now()
    ended(running, outputs_listed_at=now - timedelta(seconds=5))
    Job.objects.update(ended_at=now - timedelta(seconds=9))
    LogTail.objects.update(read_at=now - timedelta(seconds=8.5))
    with TestCase.captureOnCommitCallbacks(execute=True):
        assert client_for(mei).get(at(running, "log/stdout/")).status_code == 200
    assert bell.rang("jobs.tasks.read_logs") == [(running.pk,)]


def test_its_runs_are_listed_when_it_was_requeued(mei: User, running: Job, client_for: ClientFor) -> None:
    for state in ("PREEMPTED", "COMPLETED"):
        run_of(running, state)
    run_of(
        running, "FAILED", submit=running.created_at - timedelta(days=900)
    )  # before the numbers began anew
    response = client_for(mei).get(at(running))
    assert [run.state for run in response.context["cost"].runs] == ["PREEMPTED", "COMPLETED"]
    assert "PREEMPTED" in response.content.decode()


def test_the_charge_is_the_ledgers(
    mei: User, running: Job, allocation: Allocation, client_for: ClientFor
) -> None:
    record = run_of(running, "COMPLETED", gpu_seconds=3600)
    ledger.hold(allocation, 7200, reference=running.token)
    ledger.charge(allocation, record, running.partition.factor_at(timezone.now()))
    cost = client_for(mei).get(at(ended(running))).context["cost"]
    assert (cost.charged, cost.worst, cost.came_back) == (3600, 7200, 3600)


@pytest.mark.parametrize("part", ["", "news/"])
def test_a_failed_job_says_what_happened_what_it_cost_and_what_to_do(
    mei: User, running: Job, allocation: Allocation, client_for: ClientFor, part: str
) -> None:
    ended(running, State.FAILED, reason="FAILED", exit_code="3:0")
    page = words(client_for(mei).get(at(running, part)))
    assert "The script ended with exit code 3. Only the time it ran is charged" in page
    assert "submit it again" in page
    record = run_of(running, "FAILED", gpu_seconds=3600)
    ledger.charge(allocation, record, running.partition.factor_at(timezone.now()))
    assert "Charged: 1 GPU-h, for the time it ran." in words(client_for(mei).get(at(running, part)))


def test_a_failed_job_that_never_ran_cost_nothing(mei: User, running: Job, client_for: ClientFor) -> None:
    ended(running, State.FAILED, reason="BOOT_FAIL", started_at=None)
    assert "Nothing was charged." in words(client_for(mei).get(at(running)))


def test_the_logs_download_appears_when_the_job_has_ended(
    mei: User, running: Job, client_for: ClientFor
) -> None:
    assert "log-download" not in client_for(mei).get(at(running, "side/")).content.decode()
    ended(running)
    log = JobFile.objects.create(job=running, kind=JobFile.Kind.OUTPUT, path="stderr.log", size=1)
    assert (
        f'href="{at(running)}files/{log.pk}/"'
        in client_for(mei).get(at(running, "side/?stream=stderr")).content.decode()
    )
    assert "log-download" not in client_for(mei).get(at(running, "side/")).content.decode()


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("who", ["otto", "vera", "fay"])
def test_to_a_stranger_it_does_not_exist(
    who: str, running: Job, part: str, request: pytest.FixtureRequest, client_for: ClientFor
) -> None:
    client = client_for(request.getfixturevalue(who))
    theirs, missing = client.get(at(running, part)), client.get(f"/jobs/{running.pk + 999}/{part}")
    assert theirs.status_code == missing.status_code == 404
    assert theirs.content == missing.content


def test_a_huge_number_does_not_exist(mei: User, running: Job, client_for: ClientFor) -> None:
    client = client_for(mei)
    for url in (
        f"/jobs/{2**63}/",
        f"/jobs/{10**30}/",
        f"/jobs/{running.pk}/files/{2**63}/",
        f"/jobs/{2**64}/files/1/",
    ):
        assert client.get(url).status_code == 404


@pytest.mark.parametrize("who", ["ada", "sam", "ann"])
def test_who_may_not_read_it_sees_that_it_is_but_not_what_it_does(
    who: str, running: Job, request: pytest.FixtureRequest, client_for: ClientFor
) -> None:
    client = client_for(request.getfixturevalue(who))
    shown = client.get(at(running)).content.decode()
    assert "Fringe fit" in shown
    assert "secret-script.sh" not in shown + client.get(at(running, "side/")).content.decode()
    refused = client.get(at(running, "log/stdout/"))
    assert refused.status_code == 403
    assert "epoch 1" not in shown + refused.content.decode()


def test_the_pi_reads_it(ivo: User, running: Job, client_for: ClientFor) -> None:
    assert "secret-script.sh" in client_for(ivo).get(at(running)).content.decode()
    assert client_for(ivo).get(at(running, "log/stdout/")).status_code == 200


def test_a_colleagues_job_is_metadata(
    ivo: User, mei: User, allocation: Allocation, client_for: ClientFor
) -> None:
    job = JobFactory.create(owner=ivo, allocation=allocation)
    JobFile.objects.create(job=job, kind=JobFile.Kind.SCRIPT, path="secret-script.sh", size=10)
    shown = client_for(mei).get(at(job)).content.decode()
    assert "are private" in shown
    assert "secret-script.sh" not in shown


def test_a_silent_cluster_is_told_with_its_age(mei: User, running: Job, client_for: ClientFor) -> None:
    ClusterHealth.objects.create(
        cluster=running.cluster,
        failures=3,
        answered_at=timezone.now() - timedelta(minutes=9),
        problem="refused",
    )
    shown = client_for(mei).get(at(running, "news/")).content.decode()
    assert "has not answered since" in shown
    assert "Your job is safe" in shown


def test_the_number_of_queries_does_not_grow_with_files(
    mei: User, running: Job, client_for: ClientFor, django_assert_max_num_queries: Any
) -> None:
    JobFile.objects.bulk_create(
        JobFile(job=running, kind=JobFile.Kind.OUTPUT, path=f"{n}.png", size=1) for n in range(700)
    )
    client = client_for(mei)
    with django_assert_max_num_queries(12):
        response = client.get(at(running))
    assert (len(response.context["outputs"]), response.context["hidden_outputs"]) == (500, 200)


# ── Ending it ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize("who", ["mei", "ivo", "sam"])
def test_it_can_be_cancelled(
    who: str, running: Job, request: pytest.FixtureRequest, client_for: ClientFor, bell: Bell
) -> None:
    person = request.getfixturevalue(who)
    with TestCase.captureOnCommitCallbacks(execute=True):
        response = client_for(person).post(at(running, "cancel/"), follow=True)
    running.refresh_from_db()
    assert (running.state, running.cancel_requested_by) == (State.RUNNING, person)
    assert "told to end the job" in response.content.decode()
    assert bell.rang("jobs.tasks.cancel") == [(running.cluster_id,)]


def test_one_that_was_not_sent_is_cancelled_at_once(
    mei: User, allocation: Allocation, client_for: ClientFor
) -> None:
    job = JobFactory.create(owner=mei, allocation=allocation)
    assert "Nothing was charged" in client_for(mei).post(at(job, "cancel/"), follow=True).content.decode()
    job.refresh_from_db()
    assert job.state == State.CANCELLED


@pytest.mark.parametrize("who", ["ada", "ann"])
def test_who_may_not_cancel_is_told(
    who: str, running: Job, request: pytest.FixtureRequest, client_for: ClientFor
) -> None:
    client = client_for(request.getfixturevalue(who))
    assert client.post(at(running, "cancel/")).status_code == 403
    assert "Cancel job" not in client.get(at(running)).content.decode()


def test_a_stranger_can_not_cancel(otto: User, running: Job, client_for: ClientFor) -> None:
    assert client_for(otto).post(at(running, "cancel/")).status_code == 404


def test_it_takes_a_post_to_cancel(mei: User, running: Job, client_for: ClientFor) -> None:
    assert client_for(mei).get(at(running, "cancel/")).status_code == 405


def test_one_that_ended_can_not_be_cancelled(mei: User, running: Job, client_for: ClientFor) -> None:
    response = client_for(mei).post(at(ended(running), "cancel/"), follow=True)
    assert "already ended" in response.content.decode()
