"""A job whose files don't fit on the cluster's disk is not sent; its page says why, and what to do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from accounting.models import Allocation, Partition
from jobs import reasons, sending
from jobs.clusters import Door
from jobs.lifecycle import claim
from jobs.models import MAX_ATTEMPTS, Job, JobFile
from jobs.schedulers.slurm import Slurm
from jobs.sites import Site
from portal.models import User
from tests.factories import JobFactory
from tests.jobs.at_hand import uploaded
from tests.jobs.login_node import ME, Gateway, install_gateway, sshd
from tests.pages import browser, words

MORE_THAN_ANY_DISK = 1 << 60


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    return install_gateway(tmp_path)


@pytest.fixture
def door(gateway: Gateway, tmp_path: Path) -> Iterator[Door]:
    with sshd(tmp_path / "sshd", " ".join(gateway.command("member"))) as server:
        site = Site(
            name="firefly",
            scheduler=Slurm(),
            username_prefix="fp-",
            collector=ME,
            admin=ME,
            root_account="",
            ca_key_file=server.root / "ca",
            login_nodes=(server.node,),
        )
        with Door(site) as door:
            yield door


@pytest.fixture
def job(mei: User, allocation: Allocation, a100: Partition) -> Job:
    """Claimed, with a script that is here and not sent yet."""
    job = JobFactory.create(owner=mei, allocation=allocation, partition=a100, state=Job.State.NEW)
    upload = uploaded(mei)
    JobFile.objects.create(
        job=job,
        kind=JobFile.Kind.SCRIPT,
        path="run.sh",
        size=upload.size,
        sha256=upload.sha256,
        upload=upload,
    )
    assert claim([job])
    return job


def arrived(door: Door, job: Job) -> bool:
    return sending.arrived(
        door, ME, job, [(file, file.upload.stored_at) for file in job.files.all() if file.upload]
    )


def test_what_fits_is_sent(door: Door, job: Job) -> None:
    assert arrived(door, job)
    assert job.files.get().sent_at is not None


def test_what_does_not_fit_is_not_sent_and_the_page_says_so(door: Door, job: Job, mei: User) -> None:
    job.files.update(size=MORE_THAN_ANY_DISK)
    assert not arrived(door, job)
    job.refresh_from_db()
    assert (job.state, job.reason, job.scheduler_id) == ("new", "DiskFull", "")
    assert job.files.get().sent_at is None
    page = words(browser(mei).get(f"/jobs/{job.pk}/"))
    assert "The cluster's disk has no room for the job's files (free / needed: " in page
    assert reasons.of_job(job).todo in page


def test_after_some_tries_it_is_set_aside_for_staff(door: Door, job: Job) -> None:
    job.files.update(size=MORE_THAN_ANY_DISK)
    job.attempts = MAX_ATTEMPTS - 1
    job.save()
    assert not arrived(door, job)
    job.refresh_from_db()
    assert (job.state, job.reason, job.attempts) == ("new", "DiskFull", MAX_ATTEMPTS)
    assert Job.objects.set_aside().get() == job


def test_the_room_is_that_of_the_disk(door: Door) -> None:
    status = os.statvfs(Path.home())
    assert 0 <= door.free_space(ME) <= status.f_blocks * status.f_frsize
