"""What people do with jobs: submit within the balance, cancel, look at logs and files."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.utils import timezone
from pytest_django.fixtures import Settings

from accounting import ledger
from accounting.models import Allocation, Hold, Partition
from jobs import actions
from jobs.models import Association, ClusterAccount, Job, JobFile, Upload
from jobs.pressure import Busy
from jobs.states import State
from portal.models import AuditEvent, Lab, Project, Role, User
from tests.conftest import Bell
from tests.factories import AllocationFactory, ClusterAccountFactory, JobFactory, MembershipFactory

pytestmark = pytest.mark.django_db


def arrived(owner: User, path: str) -> Upload:
    return Upload.objects.create(owner=owner, path=path, size=3, offset=3, sha256="0" * 64)


@pytest.fixture
def submit(mei: User, project: Project, allocation: Allocation, a100: Partition) -> Callable[..., Job]:
    def submit(**changes: Any) -> Job:
        asked: dict[str, Any] = {
            "by": mei,
            "project": project,
            "partition": a100,
            "name": "fit",
            "gpus": 2,
            "time_limit_minutes": 60,
            "script": arrived(mei, "run.sh"),
            "inputs": [arrived(mei, "data/words.csv")],
        }
        return actions.create_and_submit(**(asked | changes))

    return submit


def test_submitting_holds_the_worst_case_and_keeps_job_files_and_audit(
    submit: Callable[..., Job], mei: User, allocation: Allocation
) -> None:
    job = submit()

    assert job.state == State.NEW
    assert ledger.balance(allocation).held == 2 * 60 * 60
    assert Hold.objects.get(reference=job.token).gpu_seconds == 7200
    assert set(job.files.values_list("kind", "path")) == {("script", "run.sh"), ("input", "data/words.csv")}
    assert AuditEvent.objects.about(job).get().actor == mei


def test_a_sweep_holds_for_all_its_tasks(submit: Callable[..., Job], allocation: Allocation) -> None:
    job = submit(task_count=10, tasks_at_once=3)
    assert (job.tasks, job.tasks_at_once, job.task_states) == (10, 3, "")
    assert ledger.balance(allocation).held == 10 * 7200
    assert AuditEvent.objects.about(job).get().detail["tasks"] == 10


def test_a_sweep_that_is_too_dear_is_refused_as_any_job(
    submit: Callable[..., Job], allocation: Allocation
) -> None:
    with pytest.raises(actions.Refused, match=r"up to 6.000\.00 GPU-hours|up to 6000\.00 GPU-hours"):
        submit(gpus=6, task_count=1000)
    assert ledger.balance(allocation).held == 0


def test_submitting_rings_the_worker_only_after_the_commit(
    submit: Callable[..., Job],
    bell: Bell,
    django_capture_on_commit_callbacks: Callable[..., AbstractContextManager[object]],
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        job = submit()
        assert bell.rings == []
    assert bell.rang("jobs.tasks.dispatch") == [(job.cluster_id,)]


def test_the_first_job_asks_for_a_cluster_account(
    submit: Callable[..., Job], mei: User, project: Project
) -> None:
    submit()
    submit()
    account = ClusterAccount.objects.get(user=mei)
    assert (account.state, account.username) == (ClusterAccount.State.REQUESTED, "fp-mei")
    assert Association.objects.get(account=account).project == project


def test_the_first_job_in_another_project_has_the_association_made(
    submit: Callable[..., Job],
    mei: User,
    project: Project,
    a100: Partition,
    bell: Bell,
    django_capture_on_commit_callbacks: Callable[..., AbstractContextManager[object]],
) -> None:
    account = ClusterAccountFactory.create(user=mei, cluster=a100.cluster)
    with django_capture_on_commit_callbacks(execute=True):
        submit()
    assert bell.rang("jobs.tasks.provision") == [(account.pk,)]
    Association.objects.update(made_at=timezone.now())
    with django_capture_on_commit_callbacks(execute=True):
        submit()
    assert len(bell.rang("jobs.tasks.provision")) == 1


def test_a_cheaper_partition_holds_less(
    submit: Callable[..., Job], a100_preemptible: Partition, allocation: Allocation
) -> None:
    submit(partition=a100_preemptible)
    assert ledger.balance(allocation).held == 3600


def test_more_than_is_left_is_refused_with_the_numbers_and_keeps_nothing(submit: Callable[..., Job]) -> None:
    with pytest.raises(actions.Refused, match=r"up to 20000\.00 GPU-hours, but only 5000\.00 are available"):
        submit(gpus=32, time_limit_minutes=625 * 60)
    assert not Job.objects.exists()
    assert not Hold.objects.exists()
    assert not ClusterAccount.objects.exists()


def test_an_allocation_with_enough_is_taken_when_the_first_has_too_little(
    submit: Callable[..., Job], allocation: Allocation
) -> None:
    soon = AllocationFactory.create(
        project=allocation.project, cluster=allocation.cluster, end=allocation.start, gpu_hours=1
    )
    later = AllocationFactory.create(project=allocation.project, cluster=allocation.cluster, gpu_hours=9000)
    job = submit(gpus=32, time_limit_minutes=200 * 60)
    assert job.allocation == later != soon


def test_a_project_without_hours_says_whom_to_ask(submit: Callable[..., Job], allocation: Allocation) -> None:
    Allocation.objects.filter(pk=allocation.pk).update(
        start="2020-01-01", end="2020-12-31", usable_until="2020-12-31"
    )
    with pytest.raises(actions.Refused, match="Its PI can ask for some"):
        submit()


def test_a_closed_project_takes_no_jobs(submit: Callable[..., Job], project: Project) -> None:
    Project.objects.filter(pk=project.pk).update(state=Project.State.CLOSED)
    project.refresh_from_db()
    with pytest.raises(actions.Refused, match="This project is closed"):
        submit()


def test_a_stranger_cannot_submit(submit: Callable[..., Job], otto: User) -> None:
    with pytest.raises(PermissionDenied, match="Ask its PI for an invitation"):
        submit(by=otto)


def test_another_persons_upload_is_not_taken(submit: Callable[..., Job], otto: User) -> None:
    with pytest.raises(actions.Refused, match="has not arrived whole"):
        submit(script=arrived(otto, "run.sh"))


def test_an_upload_that_is_not_whole_is_not_taken(submit: Callable[..., Job], mei: User) -> None:
    half = Upload.objects.create(owner=mei, path="half.bin", size=9, offset=3)
    with pytest.raises(actions.Refused, match=r"“half\.bin” has not arrived whole"):
        submit(inputs=[half])


def test_two_files_whose_names_differ_in_case_are_refused(submit: Callable[..., Job], mei: User) -> None:
    with pytest.raises(actions.Refused, match="two files named"):
        submit(inputs=[arrived(mei, "A.txt"), arrived(mei, "a.txt")])


def test_a_person_may_not_fill_the_cluster_alone(submit: Callable[..., Job], settings: Settings) -> None:
    settings.JOBS_IN_FLIGHT_PER_PERSON = 1
    submit()
    with pytest.raises(Busy, match="You have 1 unfinished job"):
        submit()


def test_a_job_that_was_not_sent_is_cancelled_at_once(
    submit: Callable[..., Job], mei: User, allocation: Allocation
) -> None:
    job = submit()
    actions.cancel(by=mei, job=job)
    job.refresh_from_db()
    assert job.state == State.CANCELLED
    assert ledger.balance(allocation).held == 0


def test_cancelling_what_has_ended_says_so(mei: User, project: Project) -> None:
    job = JobFactory.create(owner=mei, project=project, state=State.SUCCEEDED)
    with pytest.raises(actions.Refused, match="already ended"):
        actions.cancel(by=mei, job=job)


def test_the_pi_and_staff_may_cancel_a_members_job_and_a_colleague_may_not(
    submit: Callable[..., Job], ivo: User, sam: User, otto: User
) -> None:
    for person in (ivo, sam):
        actions.cancel(by=person, job=submit())
    with pytest.raises(PermissionDenied, match="can cancel it"):
        actions.cancel(by=otto, job=submit())


def test_staff_see_a_job_but_not_its_log_or_files(submit: Callable[..., Job], sam: User, ivo: User) -> None:
    job = submit()
    file = JobFile.objects.create(job=job, kind="output", path="out.txt", size=1)
    assert Job.objects.visible_to(sam).filter(pk=job.pk).exists()
    with pytest.raises(PermissionDenied):
        actions.want_log(by=sam, job=job, stream="stdout")
    with pytest.raises(PermissionDenied):
        actions.want_file(by=sam, file=file)
    assert actions.want_log(by=ivo, job=job, stream="stdout").text == ""


def test_asking_twice_for_a_file_brings_it_once(submit: Callable[..., Job], mei: User) -> None:
    job = submit()
    file = JobFile.objects.create(job=job, kind="output", path="out.txt", size=1)
    assert actions.want_file(by=mei, file=file) == actions.want_file(by=mei, file=file)


def test_a_funder_sees_no_job(submit: Callable[..., Job], fay: User) -> None:
    submit()
    assert not Job.objects.visible_to(fay).exists()


@pytest.mark.django_db(transaction=True)
def test_fifty_submissions_at_once_on_a_balance_for_ten_are_exactly_ten(
    project: Project, optics: Lab, allocation: Allocation, a100: Partition
) -> None:
    """Fifty people, each with a connection of their own; each job may cost 500 of the 5,000 GPU-hours."""
    people = [MembershipFactory.create(role=Role.MEMBER, lab=optics).user for _ in range(50)]
    scripts = {person.pk: arrived(person, "run.sh") for person in people}
    for number, person in enumerate(people):
        ClusterAccountFactory.create(user=person, cluster=allocation.cluster, username=f"fp-{number}")

    def press(person: User) -> bool:
        try:
            actions.create_and_submit(
                by=person,
                project=project,
                partition=a100,
                name="fit",
                gpus=25,
                time_limit_minutes=20 * 60,
                script=scripts[person.pk],
                inputs=[],
            )
        except actions.Refused as refused:
            assert "GPU-hours" in refused.message
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(max_workers=50) as threads:
        taken = list(threads.map(press, people))
    assert taken.count(True) == 10
    assert Job.objects.count() == Hold.objects.open().count() == 10
    assert ledger.balance(allocation).available == 0
