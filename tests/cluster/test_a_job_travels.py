"""One job, there and back, through dispatch and sync, on the real Slurm: every promise of its way."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounting import ledger
from accounting.models import LedgerEntry, UsageDay, UsageRecord
from jobs import actions, collecting, dispatch, estimating, files, sync
from jobs.models import ClusterHealth, Job
from jobs.states import State
from portal.models import Membership
from tests.cluster.one_machine import SlurmCluster
from tests.cluster.world import World, make_world

pytestmark = [pytest.mark.cluster, pytest.mark.django_db(transaction=True)]

SCRIPT = """#!/bin/bash
echo "reading $(cat data/words.txt)"
echo "mind the gap" >&2
sleep 3
echo "$CUDA_VISIBLE_DEVICES" > devices.txt
"""


@pytest.fixture
def world(slurm_cluster: SlurmCluster, on_cluster: None) -> World:
    return make_world(slurm_cluster)


def final(job: Job) -> bool:
    return job.is_final


def test_a_job_runs_and_its_hours_equal_the_schedulers(world: World) -> None:
    job = world.submit(SCRIPT, gpus=2, minutes=5, **{"data/words.txt": b"some words"})
    assert ledger.balance(world.allocation).held == 2 * 5 * 60

    world.send()
    job.refresh_from_db()
    assert job.state == State.QUEUED
    world.poll_until(job, final)

    assert (job.state, job.reason, job.exit_code) == (State.SUCCEEDED, "COMPLETED", "0:0")
    record = UsageRecord.objects.get(cluster=world.cluster, account=world.project.account)
    assert record.person == world.mei
    assert record.gpu_seconds == world.slurm.held(world.project.account) > 0
    charge = LedgerEntry.objects.get(usage_record=record)
    assert -charge.gpu_seconds == record.gpu_seconds
    assert (
        sum(day.gpu_seconds for day in UsageDay.objects.filter(project=world.project)) == record.gpu_seconds
    )
    assert ledger.balance(world.allocation).held == 0

    files.list_outputs(job.pk)
    assert {file.path for file in job.files.filter(kind="output")} >= {
        "devices.txt",
        "stdout.log",
        "stderr.log",
    }
    fetch = actions.want_file(by=world.mei, file=job.files.get(path="devices.txt"))
    files.bring(str(fetch.pk))
    fetch.refresh_from_db()
    assert fetch.state == fetch.State.READY
    assert fetch.stored_at.read_text().count(",") == 1  # two devices

    for stream in ("stdout", "stderr"):
        actions.want_log(by=world.mei, job=job, stream=stream)
    files.read_logs(job.pk)
    for stream, words in (("stdout", "reading some words"), ("stderr", "mind the gap")):
        assert words in actions.want_log(by=world.mei, job=job, stream=stream).text


def test_polling_again_and_collecting_again_charges_nothing_twice(world: World) -> None:
    job = world.submit("#!/bin/bash\nsleep 1\n")
    world.send()
    world.poll_until(job, final)
    before = list(LedgerEntry.objects.values_list("pk", "gpu_seconds"))

    sync.poll(world.cluster.pk)
    tally = collecting.collect(world.cluster.pk)

    assert tally is not None
    assert (tally.new, tally.changed) == (0, 0)
    assert list(LedgerEntry.objects.values_list("pk", "gpu_seconds")) == before


def test_a_failing_script_ends_as_failed_with_its_exit_code(world: World) -> None:
    job = world.submit("#!/bin/bash\nexit 3\n")
    world.send()
    world.poll_until(job, final)
    assert (job.state, job.reason, job.exit_code) == (State.FAILED, "FAILED", "3:0")


def test_cancel_ends_a_running_job_when_the_scheduler_says_so(world: World) -> None:
    job = world.submit("#!/bin/bash\nsleep 300\n")
    world.send()
    world.poll_until(job, lambda job: job.state == State.RUNNING)

    actions.cancel(by=world.mei, job=job)
    job.refresh_from_db()
    assert job.state == State.RUNNING
    dispatch.cancel_wanted(world.cluster.pk)
    world.poll_until(job, final)

    assert job.state == State.CANCELLED
    assert ledger.balance(world.allocation).held == 0
    assert ledger.balance(world.allocation).used == world.slurm.held(world.project.account)


def test_a_job_waits_with_the_schedulers_reason(world: World) -> None:
    blocker = world.submit("#!/bin/bash\nsleep 300\n", gpus=32)
    world.send()
    world.poll_until(blocker, lambda job: job.state == State.RUNNING)
    job = world.submit("#!/bin/bash\ntrue\n", gpus=8)
    world.send()

    world.poll_until(job, lambda job: job.reason in {"Resources", "Priority"})

    assert job.state == State.QUEUED
    for each in (blocker, job):
        actions.cancel(by=world.mei, job=each)
    dispatch.cancel_wanted(world.cluster.pk)
    world.poll_until(blocker, final)
    world.poll_until(job, final)


def test_the_scheduler_says_when_a_job_would_start(world: World) -> None:
    shape: dict[str, Any] = {"by": world.mei, "project": world.project, "partition": world.partition}
    for gpus, minutes in ((2, 10), (32, 60)):
        wanted = actions.want_estimate(**shape, gpus=gpus, time_limit_minutes=minutes)
        assert wanted
        estimating.answer(wanted.pk)
        wanted.refresh_from_db()
        assert wanted.is_answered
        assert wanted.starts_at
        assert not wanted.refusal


def test_many_jobs_of_one_person_are_sent_by_one_ring(world: World) -> None:
    jobs = [world.submit("#!/bin/bash\ntrue\n") for _ in range(5)]
    world.send()
    assert len({Job.objects.get(pk=job.pk).scheduler_id for job in jobs}) == 5
    for job in jobs:
        world.poll_until(job, final)


def test_what_the_script_says_to_the_scheduler_is_inert(world: World) -> None:
    job = world.submit(
        "#!/bin/bash\n#SBATCH --array=0-9\n#SBATCH --gres=gpu:a100:8\n#SBATCH --account=root\ntrue\n"
    )
    world.send()
    world.poll_until(job, final)
    assert job.state == State.SUCCEEDED
    assert len(world.in_slurm(job)) == 1
    assert UsageRecord.objects.get(account=world.project.account).gpus == 1


def test_somebody_who_left_since_submitting_is_not_sent(world: World) -> None:
    job = world.submit("#!/bin/bash\ntrue\n")
    Membership.objects.filter(user=world.mei).update(ended_at=timezone.now())

    world.send()

    job.refresh_from_db()
    assert (job.state, job.reason) == (State.FAILED, "NoLongerMember")
    assert world.in_slurm(job) == []
    assert ledger.balance(world.allocation).held == 0


def test_a_cluster_that_cannot_be_reached_keeps_the_job_waiting(world: World, unreachable: None) -> None:
    job = world.submit("#!/bin/bash\ntrue\n")

    world.send()

    job.refresh_from_db()
    assert (job.state, job.reason) == (State.NEW, "ClusterUnreachable")
    health = ClusterHealth.objects.get(cluster=world.cluster)
    assert not health.is_reachable
    assert health.try_again_at and health.try_again_at > timezone.now() - timedelta(seconds=1)
    assert ledger.balance(world.allocation).held == 5 * 60
