"""The five steps of off-boarding, on a real Slurm and a real sshd; and the way back."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from accounting import ledger
from jobs import dispatch, files, kept_logins, offboarding, provisioning, sending
from jobs.credentials import load_ca_key, mint
from jobs.models import Association, ClusterAccount, Job
from jobs.sites import read_clusters
from jobs.spec import ClusterError
from jobs.ssh import Refused, Session, connect
from jobs.states import State
from jobs.sweep import overdue
from portal.actions import memberships
from portal.models import Project, Role
from tests.cluster.one_machine import SlurmCluster, until
from tests.cluster.world import World, account_asked_for, make_world
from tests.factories import LabFactory, MembershipFactory, ProjectFactory

pytestmark = [pytest.mark.cluster, pytest.mark.django_db(transaction=True)]

LONG = "#!/bin/bash\nsleep 300\n"


@pytest.fixture
def world(slurm_cluster: SlurmCluster, on_cluster: None) -> World:
    return make_world(slurm_cluster)


def leave(world: World) -> None:
    memberships.end(by=world.mei, membership=world.mei.memberships.current().get(lab=world.project.lab))


def off_boarded(world: World) -> None:
    """As the sweep rings it, until nothing is left to do."""
    until(lambda: offboarding.off_board(world.account.pk), 60)
    assert ("off_board", world.account.pk) not in list(overdue())


def log_in(world: World) -> Session:
    """With a certificate of this very moment: what a stolen CA, or a worker that knows nothing, would have."""
    (site,) = read_clusters(world.slurm.state / "clusters.toml").values()
    credential = mint(load_ca_key(site.ca_key_file), world.account.username, datetime.now(UTC))
    return connect(site.login_nodes[0], credential)


def is_kept(world: World) -> bool:
    """Whether this worker has a login of theirs left from the call before."""
    (site,) = read_clusters(world.slurm.state / "clusters.toml").values()
    session = kept_logins.take(site.login_nodes[0], world.account.username, 0)
    if session:
        kept_logins.give_back(world.account.username, session)
    return session is not None


def associated(world: World, project: Project) -> bool:
    said = world.slurm.said(
        "sacctmgr", "-n", "-P", "show", "assoc", f"user={world.account.username}", "format=account"
    )
    return project.account in said.split()


def logins(world: World) -> list[str]:
    """sshd's processes for this user."""
    done = world.slurm.exec(["pgrep", "-x", "-u", world.account.username, "sshd"])
    return done.stdout.split()


def queue(world: World) -> str:
    return world.slurm.said("squeue", "-h", "-u", world.account.username, "-o", "%i %T")


def test_all_five_steps(world: World) -> None:
    running, waiting = world.submit(LONG), world.submit(LONG, gpus=32)
    world.send()
    world.poll_until(running, lambda job: job.state == State.RUNNING)
    unsent = world.submit(LONG)
    assert is_kept(world)
    with log_in(world) as session:
        assert session.run("talk", b"{}").exit == 2  # the gateway answers
        assert logins(world)

        leave(world)
        off_boarded(world)

        # 1 flagged
        account = ClusterAccount.objects.get(pk=world.account.pk)
        assert account.state == ClusterAccount.State.DISABLED
        assert account.shut_out_at is not None
        # 2 the connection that was open is gone
        assert logins(world) == []
        assert not is_kept(world)
        with pytest.raises(ClusterError):
            session.run("talk", b"{}", deadline=10)
    # 3 no certificate opens anything
    with pytest.raises(Refused):
        log_in(world)
    # 4 the scheduler knows of no right
    assert not associated(world, world.project)
    assert Association.objects.get(account=account).removed_at is not None
    # 5 nothing of theirs waits or runs, and what ran is counted
    for job in (running, waiting):
        world.poll_until(job, lambda job: job.is_final)
        assert job.state == State.CANCELLED
    unsent.refresh_from_db()
    assert (unsent.state, unsent.reason, unsent.scheduler_id) == (State.CANCELLED, "NoLongerMember", "")
    assert ledger.balance(world.allocation).held == 0
    assert ledger.balance(world.allocation).used == world.slurm.held(world.project.account)


def test_a_certificate_from_before_is_revoked_by_its_key_id_alone(world: World) -> None:
    """The file of revoked keys holds by itself, even where somebody puts the principals back."""
    leave(world)
    off_boarded(world)
    line = (
        f'restrict,command="{world.slurm.root}/libexec/firefly-gateway --role member" '
        f"portal-exec:{world.account.username}"
    )
    world.slurm.said("sh", "-c", f"echo '{line}' > {world.slurm.root}/principals/{world.account.username}")
    world.slurm.said("usermod", "--unlock", "--expiredate", "", world.account.username)
    with pytest.raises(Refused):
        log_in(world)


def test_one_project_of_two_ends_and_the_other_goes_on(world: World) -> None:
    lab = LabFactory.create(institution=world.project.lab.institution, account=f"{world.project.account}-2")
    other = ProjectFactory.create(lab=lab, account=f"{world.project.account}-other")
    MembershipFactory.create(user=world.mei, role=Role.MEMBER, lab=lab)
    account_asked_for(world.mei, world.cluster, other)
    assert provisioning.provision(world.account.pk)
    job = world.submit(LONG)
    world.send()
    world.poll_until(job, lambda job: job.state == State.RUNNING)

    leave(world)
    off_boarded(world)

    assert not associated(world, world.project)  # though it was the first, and so the default, account
    assert associated(world, other)
    world.poll_until(job, lambda job: job.is_final)
    with log_in(world):
        pass
    assert ClusterAccount.objects.get(pk=world.account.pk).is_active


def test_jobs_that_a_job_started_are_ended_too(world: World) -> None:
    """The portal knows nothing of them; the scheduler does."""
    world.slurm.said(
        *("sbatch", "--parsable", f"--account={world.project.account}", "--partition=a100", "--mem=100M"),
        *("--output=/dev/null", "--wrap=sleep 300"),
        user=world.account.username,
    )
    assert queue(world)
    leave(world)
    off_boarded(world)
    assert queue(world) == ""
    assert not associated(world, world.project)


def test_somebody_who_left_while_files_travel_is_not_sent(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = world.submit(LONG, data=bytes(sending.SMALL + 1))
    arrive = sending.arrived

    def arrived(*arguments: object) -> bool:
        done = arrive(*arguments)  # type: ignore[arg-type]
        leave(world)
        return done

    monkeypatch.setattr(sending, "arrived", arrived)
    world.send()
    job.refresh_from_db()
    assert (job.state, job.reason) == (State.FAILED, "NoLongerMember")
    assert world.in_slurm(job) == []


def test_a_lost_answer_of_somebody_who_left_is_looked_up_as_the_collector(world: World) -> None:
    job = world.submit(LONG)
    world.send()
    Job.objects.filter(pk=job.pk).update(
        state=State.SUBMITTING, scheduler_id="", claimed_at=timezone.now() - timedelta(minutes=5)
    )
    leave(world)
    off_boarded(world)
    dispatch.resolve_unclear(world.cluster.pk)
    job.refresh_from_db()
    assert job.scheduler_id
    world.poll_until(job, lambda job: job.is_final)
    assert job.state == State.CANCELLED


def test_files_of_somebody_who_left_are_not_fetched_but_the_job_is_settled(world: World) -> None:
    job = world.submit("#!/bin/bash\ntrue\n")
    world.send()
    world.poll_until(job, lambda job: job.is_final)
    leave(world)
    off_boarded(world)
    files.list_outputs(job.pk)
    job.refresh_from_db()
    assert job.outputs_listed_at is not None


def test_whoever_comes_back_has_the_same_name_and_can_run(world: World) -> None:
    leave(world)
    off_boarded(world)
    uid = world.slurm.said("id", "-u", world.account.username)
    MembershipFactory.create(user=world.mei, role=Role.MEMBER, lab=world.project.lab)

    job = world.submit("#!/bin/bash\ntrue\n")
    until(lambda: provisioning.provision(world.account.pk), 60)
    world.send()
    world.poll_until(job, lambda job: job.is_final)

    assert job.state == State.SUCCEEDED
    assert world.slurm.said("id", "-u", world.account.username) == uid
    with log_in(world):
        pass


def test_a_silent_cluster_finishes_later(world: World, settings: object) -> None:
    leave(world)
    toml = Path(settings.CLUSTERS_FILE)  # type: ignore[attr-defined]
    away = toml.with_name("away.toml")
    away.write_text(re.sub(r"(?m)^port = .*$", "port = 1", toml.read_text()))
    settings.CLUSTERS_FILE = away  # type: ignore[attr-defined]
    assert not offboarding.off_board(world.account.pk)
    account = ClusterAccount.objects.get(pk=world.account.pk)
    assert account.state == ClusterAccount.State.DISABLED  # at once
    assert account.message
    settings.CLUSTERS_FILE = toml  # type: ignore[attr-defined]
    off_boarded(world)
    away.unlink()
