"""One person's batch, through a real sshd and the real gateway; only Slurm's programs are shell scripts here."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from pytest_django.fixtures import Settings

from accounting.models import Allocation, Cluster, Partition
from jobs import dispatch, kept_logins, sending
from jobs.lifecycle import claim
from jobs.models import MAX_ATTEMPTS, ClusterAccount, ClusterHealth, Job, JobFile
from jobs.states import State
from portal.models import User
from tests.factories import ClusterAccountFactory, JobFactory
from tests.jobs.at_hand import uploaded
from tests.jobs.login_node import ME, Gateway, Sshd, install_gateway, sshd
from tests.pages import browser, words

pytestmark = pytest.mark.django_db

ECHO_AN_ID = 'n=$(cat ~/n 2>/dev/null || echo 100); n=$((n+1)); echo $n > ~/n; echo "$@" >> ~/calls; echo $n'


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    gateway = install_gateway(tmp_path)
    gateway.slurm("sbatch", ECHO_AN_ID)
    return gateway


@pytest.fixture
def server(gateway: Gateway, tmp_path: Path) -> Iterator[Sshd]:
    with sshd(tmp_path / "sshd", " ".join(gateway.command("member"))) as server:
        yield server
    kept_logins.forget()


@pytest.fixture(autouse=True)
def account(
    server: Sshd, settings: Settings, tmp_path: Path, mei: User, allocation: Allocation
) -> ClusterAccount:
    """mei may run; the cluster's login node is this test's."""
    settings.CLUSTERS_FILE = tmp_path / "clusters.toml"
    settings.CLUSTERS_FILE.write_text(
        f"""
[clusters.firefly]
scheduler = "slurm"
username_prefix = "fp-"
collector = "{ME}"
admin = "{ME}"
ca_key_file = "{server.root}/ca"
[[clusters.firefly.login_nodes]]
host = "{server.node.host}"
port = {server.node.port}
host_key = "{server.node.host_key}"
"""
    )
    account = ClusterAccountFactory.create(
        user=mei, cluster=allocation.cluster, username=ME, state=ClusterAccount.State.ACTIVE
    )
    account.associations.create(project=allocation.project, made_at=timezone.now())
    return account


def submitted(owner: User, allocation: Allocation, partition: Partition, *sizes: int) -> Job:
    """Waits to be sent, with its script and files of these sizes."""
    job = JobFactory.create(owner=owner, allocation=allocation, partition=partition, state=State.NEW)
    files = [
        ("script", "run.sh", b"#!/bin/sh\n"),
        *(("input", f"data/{n}", bytes(s)) for n, s in enumerate(sizes)),
    ]
    for kind, path, content in files:
        upload = uploaded(owner, path, content)
        JobFile.objects.create(
            job=job, kind=kind, path=path, size=upload.size, sha256=upload.sha256, upload=upload
        )
    return job


def logins(server: Sshd) -> int:
    return server.log.count("Accepted publickey")


def calls(gateway: Gateway) -> int:
    return len((gateway.home / "calls").read_text().splitlines()) if (gateway.home / "calls").exists() else 0


def test_all_waiting_jobs_of_a_person_travel_in_one_call_files_and_all(
    mei: User,
    allocation: Allocation,
    a100: Partition,
    server: Sshd,
    gateway: Gateway,
    django_assert_max_num_queries: Any,
) -> None:
    jobs = [submitted(mei, allocation, a100, 1000) for _ in range(30)]
    with django_assert_max_num_queries(30):
        dispatch.send_waiting(a100.cluster_id)
    ids = set(Job.objects.filter(state=State.QUEUED).values_list("scheduler_id", flat=True))
    assert len(ids) == calls(gateway) == 30
    assert server.log.count("Starting session: forced-command") == 1
    for job in jobs:
        assert (gateway.folder(job.token) / "data/0").stat().st_size == 1000
    assert not JobFile.objects.filter(sent_at=None).exists()


def test_large_files_go_by_themselves_after_the_small_ones(
    mei: User, allocation: Allocation, a100: Partition
) -> None:
    large = submitted(mei, allocation, a100, sending.SMALL)
    small = [submitted(mei, allocation, a100, 10) for _ in range(sending.BATCH + 1)]
    files = sending._files_of([large, *small])
    sizes = [len(batch) for batch in sending.batches([large, *small], files)]
    assert sizes == [sending.BATCH, 1, 1]
    assert list(sending.batches([large, *small], files))[-1] == [large]


def test_no_call_carries_more_than_the_gateway_reads(
    mei: User, allocation: Allocation, a100: Partition
) -> None:
    jobs = [submitted(mei, allocation, a100, sending.SMALL - 100) for _ in range(20)]
    batches = list(sending.batches(jobs, sending._files_of(jobs)))
    assert len(batches) == 2
    dispatch.send_waiting(a100.cluster_id)
    assert Job.objects.filter(state=State.QUEUED).count() == 20


def test_a_large_file_arrives_before_its_job_is_submitted(
    mei: User, allocation: Allocation, a100: Partition, gateway: Gateway
) -> None:
    job = submitted(mei, allocation, a100, sending.SMALL + 1)
    gateway.slurm("sbatch", f"stat -c %s ~/firefly/{job.token}/data/0 > ~/seen; echo 7")
    dispatch.send_waiting(a100.cluster_id)
    assert Job.objects.get(pk=job.pk).scheduler_id == "7"
    assert (gateway.home / "seen").read_text().strip() == str(sending.SMALL + 1)


def test_one_that_the_scheduler_refuses_and_one_without_its_upload_stop_no_other(
    mei: User, allocation: Allocation, a100: Partition, gateway: Gateway
) -> None:
    good, bad, gone = (submitted(mei, allocation, a100) for _ in range(3))
    gateway.slurm(
        "sbatch",
        f'case "$*" in *{bad.token}*) echo "sbatch: error: Batch job submission failed: Invalid account" >&2; exit 1;; esac\necho 7',
    )
    file = gone.files.get()
    assert file.upload
    file.upload.stored_at.unlink()
    dispatch.send_waiting(a100.cluster_id)
    states = {job.pk: (job.state, job.reason) for job in Job.objects.all()}
    assert states == {
        good.pk: (State.QUEUED, ""),
        bad.pk: (State.FAILED, "RefusedByScheduler"),
        gone.pk: (State.FAILED, "UploadGone"),
    }


def test_files_that_cannot_be_written_there_are_tried_less_and_less(
    mei: User, allocation: Allocation, a100: Partition, gateway: Gateway
) -> None:
    job = submitted(mei, allocation, a100)
    (gateway.home / "firefly").write_text("in the way")
    dispatch.send_waiting(a100.cluster_id)
    job.refresh_from_db()
    assert (job.state, job.reason, job.attempts) == (State.NEW, "FileRefused", 1)
    assert calls(gateway) == 0
    (gateway.home / "firefly").unlink()
    Job.objects.update(not_before=None)
    dispatch.send_waiting(a100.cluster_id)
    job.refresh_from_db()
    assert job.state == State.QUEUED


# ── Who is not let in ────────────────────────────────────────────────────────


def test_a_refused_login_is_that_persons_trouble_and_not_the_clusters(
    mei: User, allocation: Allocation, a100: Partition, account: ClusterAccount
) -> None:
    job = submitted(mei, allocation, a100)
    ClusterAccount.objects.update(username="fp-nobody")
    dispatch.send_waiting(a100.cluster_id)
    job.refresh_from_db()
    assert (job.state, job.reason, job.attempts) == (State.NEW, "LoginRefused", 1)
    account.refresh_from_db()
    assert "did not accept the certificate" in account.message
    assert not ClusterHealth.objects.filter(failures__gt=0).exists()
    assert "did not let the portal log in as you" in words(browser(mei).get(f"/jobs/{job.pk}/"))
    Job.objects.update(attempts=MAX_ATTEMPTS - 1, not_before=None)
    dispatch.send_waiting(a100.cluster_id)
    assert Job.objects.set_aside().get() == job


def test_where_nobody_is_let_in_it_is_the_clusters_trouble_and_no_jobs_fault(
    mei: User, allocation: Allocation, a100: Partition, server: Sshd
) -> None:
    job = submitted(mei, allocation, a100)
    (server.root / "principals").write_text("")
    dispatch.send_waiting(a100.cluster_id)
    job.refresh_from_db()
    assert (job.state, job.reason, job.attempts) == (State.NEW, "ClusterUnreachable", 0)
    assert ClusterHealth.objects.get().failures == 1


# ── Claims ───────────────────────────────────────────────────────────────────


def test_a_job_is_claimed_once_and_never_after_a_wish_to_cancel(
    mei: User, allocation: Allocation, a100: Partition
) -> None:
    mine, late = submitted(mei, allocation, a100), submitted(mei, allocation, a100)
    Job.objects.filter(pk=late.pk).update(cancel_requested_at=timezone.now())
    again = Job.objects.get(pk=mine.pk)
    assert claim([mine, late]) == [mine]
    assert claim([again]) == []
    assert (mine.state, again.state) == (State.SUBMITTING, State.NEW)


# ── Side by side ─────────────────────────────────────────────────────────────


@pytest.fixture
def crowd(monkeypatch: pytest.MonkeyPatch, firefly: Cluster) -> dict[str, list[Job]]:
    """Five people wait."""
    return {f"fp-{n}": [Job(pk=n)] for n in range(5)}


def test_many_people_are_served_side_by_side_within_the_limit(
    crowd: dict[str, list[Job]], firefly: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: dict[str, int] = defaultdict(int)
    meeting = threading.Barrier(3)
    now, most, lock = 0, 0, threading.Lock()

    def send(_door: object, username: str, *_: object) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
            served[username] += 1
            first = sum(served.values()) <= 3
        if first:
            meeting.wait(20)  # three are here at the same time, or it breaks
        with lock:
            now -= 1

    monkeypatch.setattr(sending, "send", send)
    dispatch._send_side_by_side(firefly, crowd, {}, 3)
    assert served == dict.fromkeys(crowd, 1)
    assert most == 3


def test_once_the_cluster_is_in_trouble_nobodys_turn_begins(
    crowd: dict[str, list[Job]], firefly: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns: list[str] = []

    def send_for(_cluster: Cluster, username: str, _jobs: Sequence[Job], _budgets: object) -> bool:
        turns.append(username)
        return False

    monkeypatch.setattr(dispatch, "_send_for", send_for)
    dispatch._send_side_by_side(firefly, crowd, {}, 1)
    assert len(turns) == 1


def test_a_fault_of_ours_is_heard_of(
    crowd: dict[str, list[Job]], firefly: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def send(*_: object) -> None:
        raise KeyError("a mistake")

    monkeypatch.setattr(sending, "send", send)
    with pytest.raises(KeyError, match="a mistake"):
        dispatch._send_side_by_side(firefly, crowd, {}, 2)


def test_new_jobs_make_the_poller_ask_soon(mei: User, allocation: Allocation, a100: Partition) -> None:
    ClusterHealth.objects.create(cluster=a100.cluster, ask_at=timezone.now() + timedelta(seconds=45))
    submitted(mei, allocation, a100)
    dispatch.send_waiting(a100.cluster_id)
    asked_next = ClusterHealth.objects.get().ask_at
    assert asked_next and asked_next < timezone.now() + timedelta(seconds=2)
