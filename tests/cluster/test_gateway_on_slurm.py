"""From the portal's side of the wire to a real Slurm and back: one door, real people, real jobs."""

import hashlib
import io
import os
import secrets
import string
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from accounting.runs import Run
from jobs.clusters import Door, Poll
from jobs.schedulers import AnswerError, Call
from jobs.sites import read_clusters
from jobs.spec import JobSpec, Verdict
from jobs.transfers import FileRefused
from tests.cluster.one_machine import SlurmCluster, until

pytestmark = pytest.mark.cluster

SPEC = JobSpec("", "gw-project", "a100", 2, "a100", 1, 4, 4000, 5, "run.sh")
ACCOUNTS = ["gw-university", "gw-lab", "gw-project"]
BEGAN = datetime.now(UTC) - timedelta(minutes=1)


@pytest.fixture
def door(slurm_cluster: SlurmCluster) -> Iterator[Door]:
    (site,) = read_clusters(slurm_cluster.state / "clusters.toml").values()
    with Door(site) as open_door:
        yield open_door


@pytest.fixture
def mei(door: Door) -> str:
    return provisioned(door, "mei")


@pytest.fixture
def otto(door: Door) -> str:
    return provisioned(door, "otto")


def provisioned(door: Door, name: str) -> str:
    username = f"{door.site.username_prefix}gw-{name}"
    door.provision(username)
    until(lambda: door.account_exists(username))
    door.associate(username, ACCOUNTS)
    return username


def new_token() -> str:
    return "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(26))


def upload(door: Door, username: str, token: str, path: str, body: bytes) -> None:
    door.upload(username, token, path, io.BytesIO(body), len(body), hashlib.sha256(body).hexdigest())


def prepared(door: Door, username: str, script: str) -> JobSpec:
    token = new_token()
    door.prepare(username, token)
    upload(door, username, token, "run.sh", script.encode())
    return replace(SPEC, token=token)


def submitted(door: Door, username: str, script: str) -> tuple[JobSpec, str]:
    spec = prepared(door, username, script)
    (answer,) = door.submit(username, [spec])
    assert answer.verdict is Verdict.ACCEPTED, answer
    return spec, answer.scheduler_id


def look(door: Door) -> Poll:
    return door.poll(BEGAN, datetime.now(UTC) + timedelta(minutes=1))


def records(door: Door, job_id: str) -> list[Run]:
    found = look(door).records
    assert found is not None and found.rejected == ()
    return [run for run in found.runs if run.job_id_raw == job_id]


def ended(door: Door, job_id: str) -> Run:
    """The job's record, once it has an end."""
    until(lambda: any(run.end for run in records(door, job_id)))
    (run,) = records(door, job_id)
    return run


def state(door: Door, job_id: str) -> str:
    return next((entry.state for entry in look(door).queue if entry.scheduler_id == job_id), "")


def running(door: Door, job_id: str) -> None:
    until(lambda: state(door, job_id) == "RUNNING")


# ── There and back ───────────────────────────────────────────────────────────


def test_a_job_goes_there_and_comes_back(door: Door, mei: str) -> None:
    spec = prepared(
        door,
        mei,
        "#!/bin/bash\ncat data.bin > copy.bin; echo $CUDA_VISIBLE_DEVICES; echo grief >&2; exit 3\n",
    )
    body = os.urandom(3_000_000)
    upload(door, mei, spec.token, "data.bin", body)
    estimate = door.estimate(mei, spec)
    assert estimate and abs(estimate - datetime.now(UTC)) < timedelta(minutes=10)
    (answer,) = door.submit(mei, [spec])
    run = ended(door, answer.scheduler_id)
    assert (run.account, run.user, run.partition, run.state, run.exit_code) == (
        *("gw-project", mei, "a100", "FAILED", "3:0"),
    )
    assert (run.gpus, run.gpus_by_type, run.time_limit_minutes) == (2, (("a100", 2),), 5)
    files = {file.path: file.size for file in door.list_files(mei, spec.token).files}
    assert files["copy.bin"] == files["data.bin"] == 3_000_000
    assert b"".join(door.download(mei, spec.token, "copy.bin")) == body
    assert len(door.tail(mei, spec.token, "stdout.log").data.decode().strip().split(",")) == 2
    assert door.tail(mei, spec.token, "stderr.log").data == b"grief\n"
    assert door.tail(mei, spec.token, "none.log").size is None


def test_many_jobs_travel_in_one_call_and_each_has_its_answer(door: Door, mei: str) -> None:
    specs = [prepared(door, mei, "true") for _ in range(3)]
    specs.insert(1, replace(prepared(door, mei, "true"), account="nobodys"))
    answers = door.submit(mei, specs)
    assert [answer.token for answer in answers] == [spec.token for spec in specs]
    assert [answer.verdict for answer in answers] == [
        *(Verdict.ACCEPTED, Verdict.REFUSED, Verdict.ACCEPTED, Verdict.ACCEPTED),
    ]
    assert "account" in answers[1].message


def test_several_nodes_get_their_gpus_each(door: Door, mei: str) -> None:
    spec = replace(prepared(door, mei, "echo $SLURM_JOB_NUM_NODES"), gpus=8, nodes=2)
    (answer,) = door.submit(mei, [spec])
    assert ended(door, answer.scheduler_id).gpus == 8
    assert door.tail(mei, spec.token, "stdout.log").data == b"2\n"


def test_cancelling_ends_the_job_that_is_meant(door: Door, mei: str) -> None:
    (spec, job), (other, stays) = submitted(door, mei, "sleep 300"), submitted(door, mei, "sleep 300")
    running(door, job)
    running(door, stays)
    door.cancel(mei, [(new_token(), job)])  # another's name: nothing
    door.cancel(mei, [(other.token, stays)])
    assert ended(door, stays).state == "CANCELLED"
    assert state(door, job) == "RUNNING"
    door.cancel(mei, [(spec.token, job)])
    assert ended(door, job).gpus == 2
    door.cancel(mei, [(spec.token, job)])  # again: quiet


def test_there_is_room_to_see(door: Door) -> None:
    free = look(door).free_gpus
    assert free is not None and 0 <= free <= 32


# ── Once ─────────────────────────────────────────────────────────────────────


def test_sending_twice_makes_one_job(door: Door, mei: str) -> None:
    spec, job = submitted(door, mei, "true")
    assert [door.submit(mei, [spec])[0].scheduler_id for _ in range(2)] == [job, job]
    assert [entry.scheduler_id for entry in look(door).queue if entry.token == spec.token] == [job]


def test_a_lost_answer_is_found_by_its_token(door: Door, mei: str, slurm_cluster: SlurmCluster) -> None:
    spec = prepared(door, mei, "true")
    controller = slurm_cluster.said("pgrep", "-x", "slurmctld").split()
    slurm_cluster.said("kill", "-STOP", *controller)
    try:
        (answer,) = door.submit(mei, [spec])
        with pytest.raises(AnswerError):
            door.find(mei, [spec.token], BEGAN)
    finally:
        slurm_cluster.said("kill", "-CONT", *controller)
    assert answer.verdict is Verdict.UNKNOWN
    until(lambda: door.find(mei, [spec.token], BEGAN))
    (again,) = door.submit(mei, [spec])
    assert again.verdict is Verdict.UNKNOWN, "nobody sends it again before it is forgotten"
    assert len([entry for entry in look(door).queue if entry.token == spec.token]) == 1


def test_a_second_job_for_a_folder_runs_nothing(door: Door, mei: str) -> None:
    spec, first = submitted(door, mei, "echo ran >> ran.txt; sleep 5")
    running(door, first)
    remove_marks(door, mei, spec.token)
    (answer,) = door.submit(mei, [spec])
    assert answer.scheduler_id not in ("", first)
    assert ended(door, answer.scheduler_id).exit_code == "73:0"
    assert door.find(mei, [spec.token], BEGAN) == {spec.token: first}
    ended(door, first)
    assert b"".join(door.download(mei, spec.token, "ran.txt")) == b"ran\n"


def remove_marks(door: Door, username: str, token: str) -> None:
    """A job may do what it likes in its owner's home: here it takes the gateway's marks away."""
    _, job = submitted(door, username, f"rm ../{token}/.submit*")
    assert ended(door, job).state == "COMPLETED"


# ── Not believing names ──────────────────────────────────────────────────────


def test_a_forged_name_forges_nothing(door: Door, mei: str, otto: str, slurm_cluster: SlurmCluster) -> None:
    spec, job = submitted(door, mei, "sleep 5")
    line = "firefly|9|999|999|gw-project|x|a100|normal|" + "|".join(["2026-01-01T00:00:00"] * 3)
    for name in (f"a|b\n{line}|9|0|COMPLETED|0:0|5|gres/gpu=64|", "x\n@0123456789abcdef@\n", spec.token):
        slurm_cluster.said("sbatch", "--account=gw-project", f"--job-name={name}", "--wrap=true", user=otto)
    poll = look(door)
    assert poll.records is not None and poll.records.rejected == ()
    assert {entry.account for entry in poll.queue if entry.user in (mei, otto)} == {"gw-project"}
    assert not [run for run in poll.records.runs if run.job_id_raw == "999"]
    assert door.find(mei, [spec.token], BEGAN) == {spec.token: job}


# ── Who may what ─────────────────────────────────────────────────────────────


def test_members_see_nothing_of_each_other(door: Door, mei: str, otto: str) -> None:
    spec, job = submitted(door, mei, "sleep 300")
    assert door.find(otto, [spec.token], BEGAN) == {}
    with pytest.raises(AnswerError, match="folder"):
        door.list_files(otto, spec.token)
    door.cancel(otto, [(spec.token, job)])
    running(door, job)
    door.cancel(mei, [(spec.token, job)])


def test_who_has_left_a_project_sends_nothing_more(door: Door, otto: str) -> None:
    spec = prepared(door, otto, "true")
    door.dissociate(otto, "gw-project")
    try:
        (answer,) = door.submit(otto, [spec])
        assert answer.verdict is Verdict.REFUSED
        door.dissociate(otto, "gw-project")
    finally:
        door.associate(otto, ACCOUNTS)


def test_the_admin_stays_among_the_portals_own(door: Door, mei: str) -> None:
    with pytest.raises(AnswerError):
        door.associate("root", ACCOUNTS)
    with pytest.raises(AnswerError):
        door.associate(mei, ["root"])
    with pytest.raises(AnswerError):
        door.provision("mei")


def test_a_name_that_the_centre_refuses_is_told_in_its_words(door: Door) -> None:
    own = door.site.collector
    assert door.account_exists(own)
    refused = door.site.username_prefix  # a bare prefix is no user
    door.provision(refused)
    told: list[str] = []

    def answered() -> bool:
        try:
            return door.account_exists(refused)
        except AnswerError as error:
            told.append(str(error))
            return True

    until(answered)
    assert told and "username" in told[0]


def test_the_cluster_tells_its_version_and_time(door: Door, mei: str) -> None:
    (answer,), now = door._as(mei).ask([Call("hello")])
    assert "slurm" in answer.stdout and mei in answer.stdout
    assert abs(now - datetime.now(UTC)) < timedelta(seconds=30)


# ── Files ────────────────────────────────────────────────────────────────────


def test_a_file_that_changed_under_way_is_refused(door: Door, mei: str) -> None:
    spec = prepared(door, mei, "true")
    with pytest.raises(FileRefused, match="sha256"):
        door.upload(mei, spec.token, "x", io.BytesIO(b"other"), 5, hashlib.sha256(b"hello").hexdigest())
    upload(door, mei, spec.token, "x", b"hello")
    assert b"".join(door.download(mei, spec.token, "x")) == b"hello"
