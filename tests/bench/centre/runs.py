"""Jobs, what they held of the cluster, what it cost, and who did what: the rows that grow without end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from accounting.models import (
    Allocation,
    AllocationRequest,
    Hold,
    LedgerEntry,
    Partition,
    UsageDay,
    UsageRecord,
)
from jobs.models import Association, ClusterAccount, Job, JobFile
from jobs.states import State
from portal.models import AuditEvent, Membership, Project, User
from tests.bench.centre import sizes
from tests.bench.centre.hours import Hours
from tests.bench.centre.people import Places
from tests.bench.centre.sizes import BATCH, Dice, dice

STATES = {State.SUCCEEDED: "COMPLETED", State.FAILED: "FAILED", State.CANCELLED: "CANCELLED"}
FINAL = (*[State.SUCCEEDED] * 8, State.FAILED, State.CANCELLED)
NAMES = ("train", "sweep", "relax", "fit", "render", "evaluate", "anneal")
FIRST_ID = 1_000_000


@dataclass(frozen=True)
class Submission:
    """A job to be: who, on what."""

    owner: User
    project: Project
    allocation: Allocation
    partition: Partition


def fill(places: Places, hours: Hours) -> None:
    jobs = Job.objects.bulk_create(list(_jobs(places, hours)), BATCH)
    final = [job for job in jobs if job.is_final]
    JobFile.objects.bulk_create(
        (JobFile(job=job, kind=JobFile.Kind.SCRIPT, path="run.sh", size=900) for job in jobs), BATCH
    )
    Hold.objects.bulk_create((_hold(job) for job in jobs), BATCH)
    accounts = _accounts(jobs)
    records = UsageRecord.objects.bulk_create([_record(job, accounts) for job in final], BATCH)
    LedgerEntry.objects.bulk_create(
        (_charge(job, one) for job, one in zip(final, records, strict=True)), BATCH
    )
    UsageDay.objects.bulk_create(_days(records), BATCH)
    AuditEvent.objects.bulk_create(_events(jobs, hours.requests), BATCH)


def _jobs(places: Places, hours: Hours) -> Iterator[Job]:
    throw = dice(21)
    open_projects = [one for one in places.projects if hours.allocations_of.get(one.pk)]
    for number in range(sizes.JOBS):
        yield _job(throw, number, places, _submission(throw, places, hours, open_projects))


def _submission(throw: Dice, places: Places, hours: Hours, projects: list[Project]) -> Submission:
    project = throw.one(projects)
    owner = throw.one(places.people_of[project.lab_id])
    allocation = throw.one(hours.allocations_of[project.pk])
    return Submission(owner, project, allocation, throw.evenly(hours.partitions_of[allocation.cluster_id]))


def _job(throw: Dice, number: int, places: Places, by: Submission) -> Job:
    """The last ones wait or run; the others have ended, spread over two years."""
    unfinished = number >= sizes.JOBS - sizes.UNFINISHED
    created = places.now - timedelta(days=730) * (1 - number / sizes.JOBS)
    started = created + timedelta(minutes=throw.upto(600))
    job = Job(
        token=f"{number:026x}",
        owner=by.owner,
        project=by.project,
        allocation=by.allocation,
        cluster_id=by.allocation.cluster_id,
        partition=by.partition,
        name=f"{throw.evenly(NAMES)}-{number % 1000:03}",
        gpus=2 ** throw.upto(5),
        time_limit_minutes=60 * (1 + throw.upto(24)),
        scheduler_id=str(FIRST_ID + number),
        created_at=created,
        queued_at=created,
    )
    if unfinished:
        job.state = throw.evenly((State.QUEUED, State.RUNNING))
        job.started_at = started if job.state == State.RUNNING else None
    else:
        job.state = throw.evenly(FINAL)
        job.started_at, job.ended_at = (
            started,
            started + timedelta(minutes=5 + throw.upto(job.time_limit_minutes)),
        )
        job.reason = "OutOfMemory" if job.state == State.FAILED else ""
    return job


def _hold(job: Job) -> Hold:
    worst = job.gpus * job.time_limit_minutes * 60
    return Hold(
        allocation_id=job.allocation_id,
        reference=job.token,
        person_id=job.owner_id,
        gpu_seconds=worst,
        taken_at=job.created_at,
        released_at=job.ended_at,
    )


def _accounts(jobs: list[Job]) -> dict[tuple[int, int], str]:
    """Everybody who ever submitted has a POSIX user there; its name by person and cluster."""
    pairs = sorted({(job.owner_id, job.cluster_id) for job in jobs})
    known = dict(ClusterAccount.objects.values_list("user", "pk"))
    new = [(user, cluster) for user, cluster in pairs if user not in known]
    made = ClusterAccount.objects.bulk_create(
        [
            ClusterAccount(user_id=user, cluster_id=cluster, username=f"fp-{user}-{cluster}", state="active")
            for user, cluster in new
        ],
        BATCH,
    )
    account_of = {(one.user_id, one.cluster_id): one.pk for one in made}
    Association.objects.bulk_create(
        (
            Association(account_id=account_of[user, cluster], project_id=project, made_at=jobs[0].created_at)
            for user, cluster, project in sorted(
                {(job.owner_id, job.cluster_id, job.project_id) for job in jobs}
            )
            if (user, cluster) in account_of
        ),
        BATCH,
    )
    return {(user, cluster): f"fp-{user}-{cluster}" for user, cluster in pairs}


def _record(job: Job, accounts: dict[tuple[int, int], str]) -> UsageRecord:
    assert job.started_at and job.ended_at
    return UsageRecord(
        cluster_id=job.cluster_id,
        identity=job.scheduler_id,
        job_id_raw=job.scheduler_id,
        job_id=job.scheduler_id,
        account=job.project.account,
        user=accounts[job.owner_id, job.cluster_id],
        partition=job.partition.name,
        submit=job.created_at,
        start=job.started_at,
        end=job.ended_at,
        state=STATES[State(job.state)],
        gpus=job.gpus,
        gpus_by_type={job.partition.gpu_type: job.gpus},
        held_until=job.ended_at,
        gpu_seconds=job.gpus * int((job.ended_at - job.started_at).total_seconds()),
        project_id=job.project_id,
        person_id=job.owner_id,
    )


def _charge(job: Job, record: UsageRecord) -> LedgerEntry:
    return LedgerEntry(
        allocation_id=job.allocation_id,
        kind=LedgerEntry.Kind.CHARGE,
        gpu_seconds=-record.gpu_seconds,
        usage_record=record,
        factor=Decimal(1),
        at=job.ended_at or job.created_at,
    )


def _days(records: list[UsageRecord]) -> Iterator[UsageDay]:
    """Each record on the day on which it began: what reports read is as much, and it is made faster."""
    cells: dict[tuple[object, ...], UsageDay] = {}
    for one in records:
        assert one.start
        day, gpu_type = one.start.date(), next(iter(one.gpus_by_type))
        key = (one.cluster_id, day, one.account, one.user, one.partition, gpu_type, one.state)
        cell = cells.setdefault(
            key,
            UsageDay(
                cluster_id=one.cluster_id,
                day=day,
                account=one.account,
                user=one.user,
                partition=one.partition,
                gpu_type=gpu_type,
                state=one.state,
                project_id=one.project_id,
                person_id=one.person_id,
                gpu_seconds=0,
            ),
        )
        cell.gpu_seconds += one.gpu_seconds
    yield from cells.values()


def _events(jobs: list[Job], requests: list[AllocationRequest]) -> Iterator[AuditEvent]:
    for job in jobs:
        yield _event(job.created_at, job.owner_id, "job submitted", job, job.project_id, gpus=job.gpus)
        if job.state == State.CANCELLED:
            yield _event(job.ended_at, job.owner_id, "job cancel requested", job, job.project_id)
    for one in requests:
        drafted = "allocation request drafted"
        yield _event(
            one.created_at, one.created_by_id, drafted, one, one.project_id, gpu_seconds=one.gpu_seconds_asked
        )
        if one.submitted_at:
            sent = "allocation request submitted"
            yield _event(
                one.submitted_at, one.created_by_id, sent, one, one.project_id, before="draft", note=""
            )
    for role in Membership.objects.order_by("pk").iterator():
        yield _event(role.started_at, role.user_id, "membership begun", role, None)


def _event(
    at: datetime | None, actor: int | None, action: str, thing: Job | AllocationRequest | Membership,
    project: int | None, **detail: object,
) -> AuditEvent:  # fmt: skip
    assert at
    return AuditEvent(
        at=at,
        actor_id=actor,
        action=action,
        object_type=thing._meta.label_lower,
        object_id=str(thing.pk),
        project_id=project,
        detail=detail,
    )
