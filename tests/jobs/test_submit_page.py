"""The submit page: it submits, it keeps what was typed and uploaded, and it says why not."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client, TestCase
from django.urls import reverse

from accounting import ledger
from accounting.models import Allocation, Partition
from jobs.models import ClusterHealth, Job, JobFile, Upload
from jobs.states import State
from portal.models import Project, User
from tests.conftest import Bell
from tests.factories import JobFactory, PartitionFactory, ProjectFactory
from tests.jobs.at_hand import SCRIPT, filled_in, uploaded

URL = "/jobs/new/"
CHECK = "/jobs/new/check/"


@pytest.fixture
def page(mei: User, allocation: Allocation, client_for: Callable[[User], Client]) -> Client:
    return client_for(mei)


def only() -> Job:
    return Job.objects.get()


def errors(response: Any) -> dict[str, list[str]]:
    assert response.status_code == 422
    return {
        name: [str(one) for one in sentences] for name, sentences in response.context["form"].errors.items()
    }


def test_it_shows_where_jobs_can_run(page: Client, a100_preemptible: Partition) -> None:
    shown = page.get(URL).content.decode()
    assert "a100-preemptible" in shown
    assert "0.5" in shown


def test_it_submits(page: Client, mei: User, project: Project, a100: Partition, bell: Bell) -> None:
    data = filled_in(project, a100, uploaded(mei), uploaded(mei, "data/x.csv", b"1,2"))
    with TestCase.captureOnCommitCallbacks(execute=True):
        response = page.post(URL, data)
    assert response.status_code == 302
    assert response["Location"] == reverse("jobs:detail", args=[only().pk])
    assert (only().owner, only().gpus, only().time_limit_minutes, only().state) == (mei, 2, 90, State.NEW)
    assert sorted(only().files.values_list("kind", "path")) == [("input", "data/x.csv"), ("script", "run.sh")]
    assert ledger.balance(only().allocation).held == 2 * 90 * 60
    assert bell.rang("jobs.tasks.dispatch") == [(a100.cluster_id,)]


def test_pressing_twice_submits_once(page: Client, mei: User, project: Project, a100: Partition) -> None:
    once = page.get(URL).context["form"]["once"].value()
    data = filled_in(project, a100, uploaded(mei), once=once)
    first, second = page.post(URL, data), page.post(URL, data)
    assert first["Location"] == second["Location"]
    assert Job.objects.count() == 1


def test_a_token_of_ones_own_is_not_taken(page: Client, mei: User, project: Project, a100: Partition) -> None:
    page.post(URL, filled_in(project, a100, uploaded(mei), once="a" * 26))
    assert only().token != "a" * 26


def test_one_file_needs_no_choice(page: Client, mei: User, project: Project, a100: Partition) -> None:
    page.post(URL, filled_in(project, a100, uploaded(mei)) | {"script": ""})
    assert only().files.get().kind == JobFile.Kind.SCRIPT


def test_of_several_files_one_must_be_chosen(
    page: Client, mei: User, project: Project, a100: Partition
) -> None:
    data = filled_in(project, a100, uploaded(mei), uploaded(mei, "b.sh")) | {"script": ""}
    assert "Choose which" in errors(page.post(URL, data))["uploads"][0]


def test_an_error_keeps_everything(page: Client, mei: User, project: Project, a100: Partition) -> None:
    script, data = uploaded(mei), uploaded(mei, "data/digits.csv", b"1,2")
    response = page.post(URL, filled_in(project, a100, script, data, gpus="many", name="Fringe <fit>"))
    shown = response.content.decode()
    assert set(errors(response)) == {"gpus"}
    for kept in (
        str(script.pk),
        str(data.pk),
        "data/digits.csv",
        "Fringe &lt;fit&gt;",
        'value="many"',
        'value="30"',
    ):
        assert kept in shown
    assert f'value="{script.pk}" checked' in " ".join(shown.split())
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    "gpus",
    [
        "",
        "0",
        "-1",
        "1_000",
        "２",
        "1e3",
        "NaN",
        "Infinity",
        "1e400",
        "2.5",
        "0x10",
        "10" * 200,
        "9" * 31,
        "33",
        "true",
    ],
)
def test_a_number_of_gpus_that_can_not_be_is_told_at_its_field(
    page: Client, mei: User, project: Project, a100: Partition, gpus: str
) -> None:
    assert set(errors(page.post(URL, filled_in(project, a100, uploaded(mei), gpus=gpus)))) == {"gpus"}


def test_too_few_gpus_are_answered_with_how_many_there_are(
    page: Client, mei: User, project: Project, a100: Partition
) -> None:
    form = filled_in(project, a100, uploaded(mei), gpus="0")
    assert errors(page.post(URL, form))["gpus"] == ["At least 1 GPU, and at most 32 on a100."]
    assert errors(page.post(URL, form | {"partition": ""}))["gpus"] == ["At least 1 GPU."]


@pytest.mark.parametrize("gpus", ["9", "12", "31"])
def test_above_a_node_whole_nodes_are_asked(
    page: Client, mei: User, project: Project, a100: Partition, gpus: str
) -> None:
    assert (
        "whole nodes of 8"
        in errors(page.post(URL, filled_in(project, a100, uploaded(mei), gpus=gpus)))["gpus"][0]
    )


@pytest.mark.parametrize("gpus", ["1", "8", "16", "32"])
def test_nodes_and_parts_of_one_can_be_had(
    page: Client, mei: User, project: Project, a100: Partition, gpus: str
) -> None:
    assert page.post(URL, filled_in(project, a100, uploaded(mei), gpus=gpus)).status_code == 302


@pytest.mark.parametrize(
    ("hours", "minutes"),
    [
        ("", ""),
        ("0", "0"),
        ("-5", "0"),
        ("UNLIMITED", ""),
        ("1:2:3:4", ""),
        ("25", ""),
        ("24", "1"),
        ("", "9" * 30),
        ("١", ""),
    ],
)
def test_a_time_limit_that_can_not_be_is_told_at_its_field(
    page: Client, mei: User, project: Project, a100: Partition, hours: str, minutes: str
) -> None:
    response = page.post(URL, filled_in(project, a100, uploaded(mei), hours=hours, minutes=minutes))
    assert set(errors(response)) <= {"hours", "minutes"}


@pytest.mark.parametrize("name", ["", "  ", "x" * 3000, "a\nb", "a\x1b[31mb", "a\u202eb", "a\0b", "a\u200bb"])
def test_a_name_that_can_not_be_is_told_at_its_field(
    page: Client, mei: User, project: Project, a100: Partition, name: str
) -> None:
    assert set(errors(page.post(URL, filled_in(project, a100, uploaded(mei), name=name)))) == {"name"}


@pytest.mark.parametrize(
    "name", ["<img onerror=alert(1)>", "../../x", "%x%j", "; rm -rf ~", "=HYPERLINK()", "量子", "a|b"]
)
def test_an_odd_name_is_kept_and_escaped(
    page: Client, mei: User, project: Project, a100: Partition, name: str
) -> None:
    response = page.post(URL, filled_in(project, a100, uploaded(mei), name=name), follow=True)
    assert only().name == name
    assert "<img onerror" not in response.content.decode()


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b" \n", "empty"),
        (b"#!/bin/sh\r\n", "Windows"),
        (b"\x7fELF\0", "not a text"),
        (b"x" * (5 << 20), "1 MiB"),
    ],
)
def test_a_script_that_can_not_be_run_is_told_at_the_files(
    page: Client, mei: User, project: Project, a100: Partition, content: bytes, word: str
) -> None:
    assert (
        word
        in errors(page.post(URL, filled_in(project, a100, uploaded(mei, "run.sh", content))))["uploads"][0]
    )


def test_an_unfinished_upload_is_told(page: Client, mei: User, project: Project, a100: Partition) -> None:
    unfinished = Upload.objects.create(owner=mei, path="run.sh", size=10)
    assert "not arrived" in errors(page.post(URL, filled_in(project, a100, unfinished)))["uploads"][0]


def test_someone_elses_upload_is_as_if_it_were_not_there(
    page: Client, mei: User, otto: User, project: Project, a100: Partition
) -> None:
    response = page.post(URL, filled_in(project, a100, uploaded(mei), uploaded(otto, "secret.csv", b"1")))
    assert "not arrived" in errors(response)["uploads"][0]
    assert "secret.csv" not in response.content.decode()


@pytest.mark.parametrize("given", ["abc", "1 or 1=1", "9" * 40, "\0", "00000000-0000-4000-8000-000000000000"])
def test_an_upload_that_is_none_is_told(
    page: Client, mei: User, project: Project, a100: Partition, given: str
) -> None:
    data = filled_in(project, a100, uploaded(mei)) | {"uploads": [given]}
    assert set(errors(page.post(URL, data))) == {"uploads"}


def test_names_that_get_in_each_others_way_are_told(
    page: Client, mei: User, project: Project, a100: Partition
) -> None:
    data = filled_in(project, a100, uploaded(mei, "A.sh"), uploaded(mei, "a.sh"))
    assert "upper and lower case" in errors(page.post(URL, data))["uploads"][0]


@pytest.mark.parametrize("field", ["project", "partition"])
@pytest.mark.parametrize("value", ["", "abc", "1 or 1=1", str(2**63), "-1"])
def test_a_choice_that_is_none_is_told(
    page: Client, mei: User, project: Project, a100: Partition, field: str, value: str
) -> None:
    assert field in errors(page.post(URL, filled_in(project, a100, uploaded(mei)) | {field: value}))


def test_another_labs_project_can_not_be_chosen(
    page: Client, mei: User, otto: User, a100: Partition, folding: Any
) -> None:
    other = ProjectFactory.create(lab=folding)
    assert "project" in errors(page.post(URL, filled_in(other, a100, uploaded(mei))))


def test_a_cluster_that_takes_no_jobs_can_not_be_chosen(page: Client, mei: User, project: Project) -> None:
    closed = PartitionFactory.create(cluster__accepts_jobs=False)
    assert "partition" in errors(page.post(URL, filled_in(project, closed, uploaded(mei))))


def test_too_few_hours_are_told_with_the_numbers(
    page: Client, mei: User, project: Project, a100: Partition
) -> None:
    data = filled_in(project, a100, uploaded(mei), gpus="32", hours="24", minutes="0")
    for _time in range(6):
        assert page.post(URL, data).status_code == 302
    (sentence,) = errors(page.post(URL, data))["__all__"]
    assert "768.00" in sentence
    assert "392.00" in sentence


@pytest.mark.parametrize("who", ["ada", "sam", "ann", "fay"])
def test_who_may_not_submit_is_told(
    who: str, request: pytest.FixtureRequest, allocation: Allocation, client_for: Callable[[User], Client]
) -> None:
    client = client_for(request.getfixturevalue(who))
    assert client.get(URL).status_code == 403
    assert client.post(URL, {}).status_code == 403
    assert client.post(CHECK, {}).status_code == 403


def test_who_is_logged_out_is_sent_to_the_log_in(db: None, client: Client) -> None:
    assert client.get(URL)["Location"].startswith("/accounts/login/")


def test_without_a_project_it_says_what_to_do(otto: User, client_for: Callable[[User], Client]) -> None:
    assert "You are in no active project" in client_for(otto).get(URL).content.decode()


# ── A sample, and a copy of an earlier job ──────────────────────────────────


def test_a_sample_adds_its_files_and_keeps_what_was_typed(
    page: Client, mei: User, project: Project, a100: Partition
) -> None:
    mine = uploaded(mei, "mine.csv", b"1")
    data = filled_in(project, a100, mine, gpus="4", name="Mine") | {"sample": "first-steps"}
    shown = page.post(URL, data).content.decode()
    assert all(name in shown for name in ("run.sh", "steps.txt", "mine.csv", 'value="Mine"', 'value="4"'))
    assert not Job.objects.exists()
    assert Upload.objects.filter(owner=mei, path="run.sh").get().is_complete


def test_a_sample_that_is_none_is_told(page: Client) -> None:
    assert "no such sample" in page.post(URL, {"sample": "../../etc"}).content.decode()


def test_a_copy_begins_with_the_jobs_values_and_files(
    page: Client, mei: User, project: Project, a100: Partition
) -> None:
    page.post(URL, filled_in(project, a100, uploaded(mei), uploaded(mei, "x.csv", b"1")))
    Upload.objects.filter(path="x.csv").delete()
    response = page.get(f"{URL}?from={only().pk}")
    assert response.context["form"]["gpus"].value() == 2
    assert [file.name for file in response.context["beginning"].files] == ["run.sh"]
    assert response.context["beginning"].missing == ("x.csv",)


def test_a_copy_of_a_colleagues_job_has_no_files(
    mei: User, ivo: User, page: Client, allocation: Allocation
) -> None:
    job = JobFactory.create(owner=ivo, allocation=allocation)
    JobFile.objects.create(job=job, kind=JobFile.Kind.SCRIPT, path="secret.sh", size=1)
    response = page.get(f"{URL}?from={job.pk}")
    assert "secret.sh" not in response.content.decode()


@pytest.mark.parametrize("pk", ["0", "abc", "-1", str(2**63), "9" * 40, ""])
def test_a_copy_of_nothing_does_not_exist(page: Client, pk: str) -> None:
    assert page.get(f"{URL}?from={pk}").status_code == 404


def test_a_strangers_job_can_not_be_copied(
    otto: User, mei: User, allocation: Allocation, client_for: Callable[[User], Client]
) -> None:
    job = JobFactory.create(owner=mei, allocation=allocation)
    assert client_for(otto).get(f"{URL}?from={job.pk}").status_code == 404


# ── The check ───────────────────────────────────────────────────────────────


def test_the_check_says_cost_and_what_is_left(
    page: Client, mei: User, project: Project, a100: Partition
) -> None:
    shown = page.post(CHECK, filled_in(project, a100, uploaded(mei))).context["offer"]
    assert (shown.cost, shown.after, shown.factor) == (10_800, 5000 * 3600 - 10_800, Decimal(1))


def test_the_check_fills_what_is_empty_from_the_script(
    page: Client, mei: User, project: Project, a100: Partition
) -> None:
    head = b"#!/bin/bash\n#SBATCH --gpus=4\n#SBATCH -t 2:30:00\n#SBATCH -J fringes\n#SBATCH -p a100\n#SBATCH --mem=5G\n"
    data = filled_in(project, a100, uploaded(mei, "run.sh", head)) | {
        "gpus": "",
        "hours": "",
        "minutes": "",
        "partition": "",
    }
    response = page.post(CHECK, data)
    said = json.loads(response["HX-Trigger"])["prefill"]
    assert said == {"gpus": "4", "hours": "2", "minutes": "30", "partition": str(a100.pk)}
    assert response.context["offer"].cost == 4 * 150 * 60
    assert "--mem=5G" in response.content.decode()


def test_a_sweep_is_filled_in_from_the_script_and_costs_each_task(
    page: Client, mei: User, project: Project, a100: Partition
) -> None:
    head = b"#!/bin/bash\n#SBATCH --array=1-10%2\necho $SLURM_ARRAY_TASK_ID\n"
    response = page.post(CHECK, filled_in(project, a100, uploaded(mei, "run.sh", head)))
    assert json.loads(response["HX-Trigger"])["prefill"] == {"tasks": "10", "at_once": "2"}
    assert response.context["offer"].cost == 10 * 10_800
    shown = " ".join(response.content.decode().split())
    assert "10 tasks × 2 GPUs" in shown
    assert "Here they are counted from 0" in shown
    assert "not taken" not in shown


def test_an_array_of_another_shape_is_named_and_runs_once(
    page: Client, mei: User, project: Project, a100: Partition
) -> None:
    head = b"#!/bin/bash\n#SBATCH --array=1,3,5\n"
    response = page.post(CHECK, filled_in(project, a100, uploaded(mei, "run.sh", head)))
    assert "HX-Trigger" not in response
    assert response.context["offer"].cost == 10_800
    assert "only a plain range from 0 or 1 is taken" in response.content.decode()


def test_it_submits_a_sweep(page: Client, mei: User, project: Project, a100: Partition) -> None:
    page.post(URL, filled_in(project, a100, uploaded(mei), tasks="10", at_once="3"))
    assert (only().tasks, only().tasks_at_once) == (10, 3)
    assert ledger.balance(only().allocation).held == 10 * 2 * 90 * 60
    copy = page.get(f"{URL}?from={only().pk}").context["form"]
    assert (copy["tasks"].value(), copy["at_once"].value()) == (10, 3)


@pytest.mark.parametrize("field", ["tasks", "at_once"])
@pytest.mark.parametrize("value", ["0", "-1", "1001", "9" * 400, "1e3", "ten", "２"])
def test_a_number_of_tasks_that_can_not_be_is_told_at_its_field(
    page: Client, mei: User, project: Project, a100: Partition, field: str, value: str
) -> None:
    said = errors(page.post(URL, filled_in(project, a100, uploaded(mei), **{field: value})))
    assert said.keys() == {field}
    assert not Job.objects.exists()


def test_too_many_tasks_are_told_how_many_there_may_be(
    page: Client, mei: User, project: Project, a100: Partition
) -> None:
    said = errors(page.post(URL, filled_in(project, a100, uploaded(mei), tasks="1001")))
    assert said == {"tasks": ["One job may have 1 000 tasks at most. Submit the others as a second one."]}


def test_the_check_leaves_what_was_typed(page: Client, mei: User, project: Project, a100: Partition) -> None:
    script = uploaded(mei, "run.sh", SCRIPT.replace(b"echo", b"#SBATCH --gpus=4 --time=9\necho"))
    response = page.post(CHECK, filled_in(project, a100, script))
    assert "HX-Trigger" not in response
    assert response.context["offer"].cost == 10_800


def test_the_check_names_a_partition_that_nobody_knows(
    page: Client, mei: User, project: Project, a100: Partition
) -> None:
    script = uploaded(mei, "run.sh", b"#!/bin/bash\n#SBATCH -p v100\n")
    assert "v100" in page.post(CHECK, filled_in(project, a100, script)).content.decode()


@pytest.mark.parametrize("gpus", ["", "abc", "9" * 400, "33", "11"])
def test_the_check_answers_calmly_while_one_types(
    page: Client, mei: User, project: Project, a100: Partition, gpus: str
) -> None:
    response = page.post(CHECK, filled_in(project, a100, uploaded(mei), gpus=gpus))
    assert response.status_code == 200
    assert response.context["offer"] is None
    assert bool(response.context["errors"]) == bool(gpus)


def test_the_check_keeps_nothing(page: Client, mei: User, project: Project, a100: Partition) -> None:
    page.post(CHECK, filled_in(project, a100, uploaded(mei)))
    assert not Job.objects.exists()
    assert ledger.balance(Allocation.objects.get()).held == 0


def test_the_check_says_that_the_cluster_is_silent_and_what_that_means(
    page: Client, mei: User, project: Project, a100: Partition
) -> None:
    ClusterHealth.objects.create(cluster=a100.cluster, failures=2)
    data = filled_in(project, a100, uploaded(mei))
    assert "the job is kept" in page.post(CHECK, data).content.decode()
    assert page.post(URL, data).status_code == 302
