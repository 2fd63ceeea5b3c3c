"""Whoever loses the right to run loses it at once in the database, and nothing is sent for them any more."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounting import ledger
from accounting.actions.closing import close_project
from accounting.models import Allocation, Partition
from jobs import actions, dispatch, lifecycle, offboarding, sending
from jobs.identity import association_for
from jobs.leases import holding
from jobs.models import Association, ClusterAccount, Job, Upload
from jobs.rights import why_ended
from jobs.states import State
from jobs.sweep import overdue
from portal.actions import memberships
from portal.models import AuditEvent, Lab, Project, Role, User
from tests.factories import JobFactory, MembershipFactory, ProjectFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def account(mei: User, project: Project, allocation: Allocation) -> ClusterAccount:
    """mei's, ready, with the right to run on the project."""
    account = association_for(mei, allocation.cluster, project).account
    ClusterAccount.objects.update(state=ClusterAccount.State.ACTIVE, found_at=timezone.now())
    Association.objects.update(made_at=timezone.now())
    account.refresh_from_db()
    return account


def leaves(user: User) -> None:
    memberships.end(by=user, membership=user.memberships.current().get())


def submitted(mei: User, project: Project, a100: Partition) -> Job:
    script = Upload.objects.create(owner=mei, path="run.sh", size=3, offset=3, sha256="0" * 64)
    return actions.create_and_submit(
        by=mei,
        project=project,
        partition=a100,
        name="x",
        gpus=1,
        time_limit_minutes=60,
        script=script,
        inputs=[],
    )


def due(account: ClusterAccount) -> bool:
    return ("off_board", account.pk) in list(overdue())


# ── Who is to be off-boarded ─────────────────────────────────────────────────


def deactivate(mei: User, ivo: User, project: Project) -> None:
    User.objects.filter(pk=mei.pk).update(is_active=False)


def close(mei: User, ivo: User, project: Project) -> None:
    close_project(by=ivo, project=project, reason="done")


def close_the_lab(mei: User, ivo: User, project: Project) -> None:
    Lab.objects.filter(pk=project.lab_id).update(closed_at=timezone.now())


def leave(mei: User, ivo: User, project: Project) -> None:
    leaves(mei)


@pytest.mark.parametrize("deed", [leave, deactivate, close, close_the_lab])
def test_leaving_and_closing_are_found_by_the_sweep(
    deed: Callable[[User, User, Project], None],
    account: ClusterAccount,
    mei: User,
    ivo: User,
    project: Project,
) -> None:
    assert not due(account)
    deed(mei, ivo, project)
    assert due(account)
    offboarding.flag(account.pk)
    account.refresh_from_db()
    assert account.state == ClusterAccount.State.DISABLED
    assert account.associations.get().ended_at is not None
    assert due(account)  # until the cluster confirmed all of it


def test_another_role_in_the_lab_keeps_the_right(account: ClusterAccount, mei: User, ivo: User) -> None:
    memberships.change_role(by=ivo, membership=mei.memberships.current().get(), role=Role.PI)
    offboarding.flag(account.pk)
    account.refresh_from_db()
    assert account.is_active


def test_another_lab_keeps_the_account_but_not_the_association(
    account: ClusterAccount, mei: User, folding: Lab
) -> None:
    MembershipFactory.create(user=mei, lab=folding)
    theirs = ProjectFactory.create(lab=folding)
    association_for(mei, account.cluster, theirs)
    memberships.end(by=mei, membership=mei.memberships.current().exclude(lab=folding).get())
    offboarding.flag(account.pk)
    account.refresh_from_db()
    assert account.is_active
    assert [one.project for one in account.associations.live()] == [theirs]


def test_flagging_twice_writes_one_audit_row(account: ClusterAccount, mei: User) -> None:
    leaves(mei)
    offboarding.flag(account.pk)
    offboarding.flag(account.pk)
    events = AuditEvent.objects.about(account.associations.get())
    assert [event.action for event in events] == ["right to run ended"]
    assert AuditEvent.objects.about(account).filter(action="cluster account disabled").count() == 1


# ── Jobs ─────────────────────────────────────────────────────────────────────


def test_jobs_that_wait_are_cancelled_and_their_hours_are_free(
    account: ClusterAccount, mei: User, project: Project, a100: Partition, allocation: Allocation
) -> None:
    job = submitted(mei, project, a100)
    leaves(mei)
    offboarding.flag(account.pk)
    job.refresh_from_db()
    assert (job.state, job.reason) == (State.CANCELLED, "NoLongerMember")
    assert ledger.balance(allocation).held == 0


@pytest.mark.parametrize("state", [State.SUBMITTING, State.QUEUED, State.RUNNING])
def test_jobs_on_the_cluster_are_wanted_ended(
    state: str, account: ClusterAccount, mei: User, project: Project, allocation: Allocation, a100: Partition
) -> None:
    job = JobFactory.create(
        owner=mei, allocation=allocation, partition=a100, state=state, scheduler_id="7", project=project
    )
    leaves(mei)
    offboarding.flag(account.pk)
    job.refresh_from_db()
    assert job.cancel_requested_at is not None
    assert job.cancel_requested_by is None
    assert AuditEvent.objects.about(job).get().actor is None


def test_jobs_of_others_go_on(
    account: ClusterAccount, mei: User, ivo: User, project: Project, allocation: Allocation, a100: Partition
) -> None:
    other = JobFactory.create(
        owner=ivo,
        allocation=allocation,
        partition=a100,
        state=State.QUEUED,
        scheduler_id="8",
        project=project,
    )
    leaves(mei)
    offboarding.flag(account.pk)
    other.refresh_from_db()
    assert other.cancel_requested_at is None


def test_nothing_is_sent_from_the_moment_of_leaving(
    account: ClusterAccount, mei: User, project: Project, a100: Partition
) -> None:
    """Before anybody flagged anything, and though the person is in the memory of the worker."""
    job = submitted(mei, project, a100)
    assert not sending.end_unentitled([job])
    leaves(User.objects.get(pk=mei.pk))
    assert not lifecycle.claim([job])
    assert sending.end_unentitled([job])
    assert (job.state, job.reason) == (State.FAILED, "NoLongerMember")


def test_a_job_on_its_way_is_not_sent_either(
    account: ClusterAccount, mei: User, project: Project, a100: Partition
) -> None:
    job = submitted(mei, project, a100)
    lifecycle.claim([job])
    leaves(User.objects.get(pk=mei.pk))
    assert sending.end_unentitled([job])
    assert job.state == State.FAILED


def test_a_closed_project_says_so(
    ivo: User, mei: User, project: Project, a100: Partition, allocation: Allocation
) -> None:
    job = submitted(mei, project, a100)
    close_project(by=ivo, project=project, reason="done")
    assert why_ended(job) == "ProjectClosed"


def test_nothing_waits_to_be_sent_on_what_has_ended(
    account: ClusterAccount, mei: User, project: Project, a100: Partition
) -> None:
    submitted(mei, project, a100)
    assert dispatch._waiting(a100.cluster)
    Association.objects.update(ended_at=timezone.now())
    assert not dispatch._waiting(a100.cluster)


# ── Coming back ──────────────────────────────────────────────────────────────


def test_whoever_comes_back_gets_the_same_name_and_everything_anew(
    account: ClusterAccount, mei: User, optics: Lab, project: Project
) -> None:
    leaves(mei)
    offboarding.flag(account.pk)
    Association.objects.update(removed_at=timezone.now())
    ClusterAccount.objects.update(shut_out_at=timezone.now())
    MembershipFactory.create(user=mei, lab=optics)

    again = association_for(mei, account.cluster, project).account

    assert (again.pk, again.username, again.state) == (
        account.pk,
        account.username,
        ClusterAccount.State.REQUESTED,
    )
    assert (again.asked_at, again.shut_out_at) == (None, None)
    association = again.associations.get()
    assert (association.made_at, association.ended_at, association.removed_at) == (None, None, None)
    assert not due(again)
    assert ("provision", again.pk) in list(overdue())


def test_making_and_taking_away_never_meet(account: ClusterAccount) -> None:
    with holding(account) as first:
        with holding(account) as second:
            assert (first, second) == (True, False)
        with holding(account) as third:
            assert not third  # the second did not give away what it never had
    with holding(account) as fourth:
        assert fourth


def test_a_lease_of_a_worker_that_died_ends(account: ClusterAccount) -> None:
    ClusterAccount.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    with holding(account) as held:
        assert held


def test_the_sweep_does_not_slow_down_with_people(
    account: ClusterAccount, django_assert_max_num_queries: Any
) -> None:
    with django_assert_max_num_queries(12):
        list(overdue())
