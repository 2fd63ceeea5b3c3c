"""The database is restored from a backup: what was sent since is found by its tokens, adopted, and charged once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from django.db.models import F

from accounting import ledger
from accounting.models import Collection, LedgerEntry
from jobs import dispatch, provisioning, sync
from jobs.clusters import Door, connect_to
from jobs.models import ClusterAccount, Job
from jobs.states import State
from portal.models import AuditEvent, OutgoingMail, User
from tests.cluster.one_machine import SlurmCluster, until
from tests.cluster.world import World, account_asked_for
from tests.factories import UserFactory
from tests.faults.backups import backup
from tests.faults.endings import exactly_one, nothing_stuck_nothing_twice

pytestmark = [pytest.mark.cluster, pytest.mark.django_db(transaction=True)]

SHORT = "#!/bin/bash\nsleep 2\n"
# The first and the last of four tasks end by themselves; those between them wait for a file in the job's folder.
TWO_ARE_HELD = (
    "#!/bin/bash\n[ $((FIREFLY_TASK % 3)) = 0 ] && sleep 2 || until [ -e go ]; do sleep 0.2; done\n"
)


@pytest.fixture
def forgetful(slurm_cluster: SlurmCluster) -> Iterator[None]:
    """slurmctld forgets a job two seconds after its end, or at its next round."""
    conf = slurm_cluster.state / "cluster" / "etc" / "slurm.conf"
    before = conf.read_text()
    conf.write_text(re.sub(r"(?m)^MinJobAge=.*$", "MinJobAge=2", before))
    slurm_cluster.said("scontrol", "reconfigure")
    try:
        yield
    finally:
        conf.write_text(before)
        slurm_cluster.said("scontrol", "reconfigure")


@contextmanager
def hour_old(folder: Path) -> Iterator[Callable[[], None]]:
    """A backup of which an hour has passed when it is restored."""
    with backup(folder) as restore:

        def restore_late() -> None:
            restore()
            Collection.objects.update(complete_until=F("complete_until") - timedelta(hours=1))

        yield restore_late


def ended(job: Job) -> bool:
    return job.is_final


def test_jobs_since_the_backup_are_adopted_and_charged_once(
    world: World, sam: User, forgetful: None, tmp_path: Path
) -> None:
    waiting = world.submit(SHORT)
    sync.poll(world.cluster.pk)
    with hour_old(tmp_path) as restore:
        world.send()  # it is queued now, and the backup says that it waits
        forgotten = world.submit(SHORT, gpus=2, minutes=3)
        world.send()
        for job in (waiting, forgotten):
            world.poll_until(job, ended)
        assert LedgerEntry.objects.filter(kind="charge").count() == 2
        until(
            lambda: (
                not world.slurm.said(
                    "squeue", "-h", "-t", "all", "-j", f"{waiting.scheduler_id},{forgotten.scheduler_id}"
                )
            ),
            90,
        )
        alive = world.submit("#!/bin/bash\nsleep 25\n")
        world.send()
        world.poll_until(alive, lambda job: job.state == State.RUNNING)
        restore()

    assert list(Job.objects.values_list("token", "state")) == [(waiting.token, State.NEW)]
    assert not LedgerEntry.objects.filter(kind="charge").exists()

    def all_are_known() -> dict[str, Job]:
        sync.poll(world.cluster.pk)
        known = {job.token: job for job in Job.objects.all()}
        return known if {waiting.token, forgotten.token, alive.token} == known.keys() else {}

    now = until(all_are_known)
    assert now[waiting.token].scheduler_id == waiting.scheduler_id
    assert (now[alive.token].scheduler_id, now[alive.token].is_final) == (alive.scheduler_id, False)
    held = ledger.balance(world.allocation).held
    assert held >= 5 * 60
    for job in (forgotten, alive):
        found = now[job.token]
        assert (found.owner, found.project, found.partition) == (world.mei, world.project, world.partition)
        assert (found.gpus, found.time_limit_minutes) == (job.gpus, job.time_limit_minutes)
        assert found.found_at
        assert AuditEvent.objects.get(action="job found on the cluster", object_id=found.pk).project
    assert now[waiting.token].found_at is None
    mails = OutgoingMail.objects.order_by("template").values_list("template", "recipient").distinct()
    assert list(mails) == [("job_found", world.mei.pk), ("jobs_found", sam.pk)]

    exactly_one(world, *now.values())
    assert OutgoingMail.objects.filter(template="job_found").count() == 2


def test_a_sweep_since_the_backup_is_adopted_whole(world: World, tmp_path: Path) -> None:
    sync.poll(world.cluster.pk)
    with hour_old(tmp_path) as restore:
        forgotten = world.submit_sweep(TWO_ARE_HELD, tasks=4, at_once=2)
        world.send()
        world.poll_until(forgotten, lambda job: job.task_states == "srrw", 30)
        restore()
    assert not Job.objects.exists()

    def all_known() -> list[Job]:
        sync.poll(world.cluster.pk)
        return list(Job.objects.all())

    (job,) = until(all_known)
    assert (job.token, job.scheduler_id) == (forgotten.token, forgotten.scheduler_id)
    assert (job.tasks, job.tasks_at_once) == (4, 2)
    world.slurm.said("touch", f"firefly/{job.token}/go", user=world.account.username)
    world.poll_until(job, ended)
    assert (job.state, job.task_states) == (State.SUCCEEDED, "ssss")
    nothing_stuck_nothing_twice(world)


def test_a_job_that_the_backup_believes_to_wait_is_not_sent_a_second_time(
    world: World, tmp_path: Path
) -> None:
    """Also where the worker comes before the poll: the job's folder on the cluster remembers its id."""
    job = world.submit(SHORT)
    with backup(tmp_path) as restore:
        world.send()
        job.refresh_from_db()
        number = job.scheduler_id
        restore()

    dispatch.send_waiting(world.cluster.pk)

    assert Job.objects.get(pk=job.pk).scheduler_id == number
    exactly_one(world, job)


def test_a_newcomer_never_gets_the_user_that_the_backup_has_forgotten(world: World, tmp_path: Path) -> None:
    def arrives(email: str) -> ClusterAccount:
        account = account_asked_for(UserFactory.create(email=email), world.cluster, world.project)
        until(lambda: provisioning.provision(account.pk), 60)
        account.refresh_from_db()
        return account

    stem = f"new-{world.project.account}"
    with backup(tmp_path) as restore:
        first = arrives(f"{stem}@north.example")
        restore()
    assert not ClusterAccount.objects.filter(username=first.username).exists()

    second = arrives(f"{stem}@south.example")

    assert second.username == f"{first.username}2"
    renamed = AuditEvent.objects.get(action="cluster account renamed")
    assert renamed.detail == {"username": second.username, "before": first.username}


def test_the_watermark_stays_while_the_names_can_not_be_asked_for(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """slurmdbd goes away between the two questions: what was not found now is found at the next."""
    sync.poll(world.cluster.pk)
    with hour_old(tmp_path) as restore:
        job = world.submit(SHORT)
        world.send()
        world.poll_until(job, lambda job: job.state != State.QUEUED)
        restore()
    watermark = Collection.objects.get().complete_until

    def too_late(name: str) -> Door:
        world.slurm.stop("slurmdbd")
        return connect_to(name)

    with monkeypatch.context() as patch:
        patch.setattr("jobs.adopting.connect_to", too_late)
        sync.poll(world.cluster.pk)
    world.slurm.start("slurmdbd")
    assert Collection.objects.get().complete_until == watermark
    assert not Job.objects.exists()

    until(lambda: sync.poll(world.cluster.pk) or Job.objects.exists())

    exactly_one(world, Job.objects.get(token=job.token))
