"""Jobs that stand on a cluster under a token of ours, and of which this database doesn't know that they were sent.

A lost answer leaves one "submitting". A restored backup leaves many: waiting to be sent, or not there at all. Each is
found by its token: in the queue at every poll, and in the accounting after a silence, because whatever was sent since
the backup was sent since the watermark that was restored with it. That goes on for a while: the accounting shows a short
job late. A name is user-written: a job is the token's only if it runs as the person's own POSIX user.
"""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.db import transaction
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.translation import gettext as _

from accounting import ledger
from accounting.models import Allocation, Cluster, Partition, allocation_named
from accounting.runs import Run
from accounting.units import worst_case
from jobs import lifecycle
from jobs.array_tasks import array_of, last_task, most_at_once
from jobs.clusters import Poll, connect_to
from jobs.models import ClusterAccount, ClusterHealth, Job
from jobs.spec import MOST_TASKS, JobSeen, QueueEntry
from jobs.states import State
from portal.emails import people_with, post
from portal.models import Project, Role, User
from portal.models.audit import record
from portal.transitions import move

log = logging.getLogger(__name__)

TOKEN = re.compile(r"[0-9a-f]{26}")
SILENCE = timedelta(minutes=2)  # no poll is so long after the one before: the portal was away, or restored
OLDEST = timedelta(days=30)  # ids wrap: what was submitted before is another's
CATCHING_UP = timedelta(minutes=15)

Sighting = QueueEntry | JobSeen


@dataclass(frozen=True)
class Ground:
    """What a job may be adopted on: people by their POSIX users, projects by their accounts, partitions by their names."""

    cluster: Cluster
    people: dict[str, User]
    projects: dict[str, Project]
    partitions: dict[str, Partition]


@dataclass(frozen=True)
class Whole:
    """A job with all its tasks: one, of a plain one."""

    seen: JobSeen
    tasks: int
    at_once: int | None  # not known where none of them waits any more


def adopt(
    cluster: Cluster, answer: Poll, *, watermark: datetime | None, followed: Collection[str]
) -> list[Job]:
    """What is on the cluster from now on, as this database sees it: to be followed like those of the tokens `followed`.

    Raises a ClusterError where the accounting had to be asked and gave no good answer. Then the watermark must stay:
    what was not found now is looked for again.
    """
    unfamiliar = [entry for entry in answer.queue if entry.token not in followed]
    adopted = _advance(cluster, unfamiliar)
    ids = _strangers(cluster, answer, unfamiliar, watermark)
    if not ids:
        return adopted
    with connect_to(cluster.name) as door:
        seen = door.named(ids, answer.asked_at - OLDEST)
    return adopted + _advance(cluster, seen) + list(_take_in(cluster, seen))


# ── Jobs that the database knows ─────────────────────────────────────────────


def _advance(cluster: Cluster, sightings: Iterable[Sighting]) -> list[Job]:
    """Those that it believes to be waiting, or on their way: they have arrived."""
    unsent = dict(Job.objects.filter(cluster=cluster).unsent().values_list("token", "pk"))
    seen = {(one.token, one.user): one for one in sightings if one.token in unsent}
    if not seen:
        return []
    usernames = dict(ClusterAccount.objects.filter(cluster=cluster).values_list("user_id", "username"))
    found = []
    for job in Job.objects.filter(pk__in={unsent[token] for token, _user in seen}):
        one = seen.get((job.token, usernames.get(job.owner_id, "")))
        if one is None:
            continue
        if job.state == State.NEW and not move(job, State.SUBMITTING, claimed_at=timezone.now()):
            continue
        if job.state == State.SUBMITTING and lifecycle.mark_queued(job, array_of(one.scheduler_id)):
            found.append(job)
    return found


# ── Jobs that it doesn't know ────────────────────────────────────────────────


def _strangers(
    cluster: Cluster, answer: Poll, unfamiliar: Sequence[QueueEntry], watermark: datetime | None
) -> list[str]:
    """The ids whose names are worth asking for: unknown tokens of the queue and, after a silence, unknown runs."""
    entries = [one for one in unfamiliar if not _is_component(one) and TOKEN.fullmatch(one.token)]
    known = set(Job.objects.filter(token__in=[one.token for one in entries]).values_list("token", flat=True))
    strangers: list[QueueEntry | Run] = [one for one in entries if one.token not in known]
    if _catches_up(cluster, watermark, answer.asked_at):
        strangers += _unknown_runs(cluster, answer)
    if not strangers:
        return []
    ground = _ground(cluster, strangers)
    ours = {_number(one) for one in strangers if one.user in ground.people and one.account in ground.projects}
    return sorted(ours, key=int)


def _printed(one: QueueEntry | Run) -> str:
    return one.job_id if isinstance(one, Run) else one.scheduler_id


def _number(one: QueueEntry | Run) -> str:
    """The job's own: the array's, of a task."""
    return array_of(_printed(one))


def _is_component(one: QueueEntry | Run) -> bool:
    """Of a heterogeneous job (537+0): the portal sends none."""
    return not _number(one).isdecimal()


def _catches_up(cluster: Cluster, watermark: datetime | None, now: datetime) -> bool:
    """Whether there was a silence of late, of which runs may come to light that this database doesn't know."""
    health = ClusterHealth.objects.filter(cluster=cluster)
    if watermark is None or now - watermark > SILENCE:
        health.update(catching_up_until=now + CATCHING_UP)
        return True
    return health.filter(catching_up_until__gt=now).exists()


def _unknown_runs(cluster: Cluster, answer: Poll) -> list[Run]:
    runs = answer.records.runs if answer.records else ()
    numbers = {_number(run): run for run in runs if not _is_component(run)}
    known = Job.objects.filter(cluster=cluster, scheduler_id__in=numbers)
    familiar = {_number(entry) for entry in answer.queue}  # their names are known
    familiar.update(known.values_list("scheduler_id", flat=True))
    return [run for number, run in numbers.items() if number not in familiar]


def _ground(cluster: Cluster, strangers: Iterable[QueueEntry | Run | JobSeen]) -> Ground:
    users, accounts = {one.user for one in strangers}, {one.account for one in strangers}
    known = ClusterAccount.objects.filter(cluster=cluster, username__in=users).select_related("user")
    projects = Project.objects.filter(account__in=accounts).select_related("lab")
    partitions = Partition.objects.filter(cluster=cluster).prefetch_related("factors")
    return Ground(
        cluster,
        {account.username: account.user for account in known},
        {project.account: project for project in projects},
        {partition.name: partition for partition in partitions},
    )


def _take_in(cluster: Cluster, seen: Sequence[JobSeen]) -> Iterator[Job]:
    ground = _ground(cluster, seen)
    tokens = [one.token for one in seen if TOKEN.fullmatch(one.token)]
    known = set(Job.objects.filter(token__in=tokens).values_list("token", flat=True))
    strangers = [one for one in seen if one.token in tokens and one.token not in known]
    found = [job for one in _whole(strangers) for job in _made(ground, one)]
    if found:
        _tell_staff(cluster, found)
    yield from found


def _whole(seen: Iterable[JobSeen]) -> Iterator[Whole]:
    """One job of each token, the first. A sweep's tasks are records of their own; the highest of them was its last."""
    by_token: dict[str, list[JobSeen]] = defaultdict(list)
    for one in sorted(seen, key=lambda one: one.submitted_at):
        by_token[one.token].append(one)
    for first, *later in by_token.values():
        number = array_of(first.scheduler_id)
        names = [one.scheduler_id for one in (first, *later) if array_of(one.scheduler_id) == number]
        yield Whole(
            replace(first, scheduler_id=number),
            tasks=min(1 + max(map(last_task, names)), MOST_TASKS),
            at_once=next(filter(None, map(most_at_once, names)), None),
        )


def _made(ground: Ground, whole: Whole) -> Iterator[Job]:
    """The job, if all of it is known here; its run is charged to the project in any case."""
    one = whole.seen
    owner, project = ground.people.get(one.user), ground.projects.get(one.account)
    partition = ground.partitions.get(one.partition)
    allocation = _payer(ground.cluster, project, one) if project else None
    if not (owner and project and partition and allocation and one.gpus and one.time_limit_minutes):
        log.warning("cluster %s: job %s can't be adopted", ground.cluster.name, one.scheduler_id)
        return
    yield _adopted(whole, ground.cluster, owner, project, partition, allocation, one.time_limit_minutes)


def _payer(cluster: Cluster, project: Project, one: JobSeen) -> Allocation | None:
    """The allocation whose budget it was submitted on; else the one in force then, the first to end; else the last."""
    candidates = list(Allocation.objects.filter(cluster=cluster, project=project).order_by("end", "pk"))
    named, day = allocation_named(one.qos), one.submitted_at.date()
    return (
        next((a for a in candidates if a.pk == named), None)
        or next((a for a in candidates if a.covers(day)), None)
        or (candidates[-1] if candidates else None)
    )


@transaction.atomic
def _adopted(
    whole: Whole,
    cluster: Cluster,
    owner: User,
    project: Project,
    partition: Partition,
    allocation: Allocation,
    minutes: int,
) -> Job:
    """With its hold, its audit line, and a word to its owner."""
    one, now = whole.seen, timezone.now()
    with translation.override(owner.language or None):
        name = _("Job %(number)s of the cluster") % {"number": one.scheduler_id}
    job = Job.objects.create(
        token=one.token,
        owner=owner,
        project=project,
        allocation=allocation,
        cluster=cluster,
        partition=partition,
        name=name,
        gpus=one.gpus,
        time_limit_minutes=minutes,
        tasks=whole.tasks,
        tasks_at_once=whole.at_once,
        state=State.QUEUED,
        scheduler_id=one.scheduler_id,
        created_at=one.submitted_at,
        queued_at=one.submitted_at,
        confirmed_at=now,
        found_at=now,
    )
    cost = worst_case(one.gpus, minutes, partition.factor_at(one.submitted_at), tasks=whole.tasks)
    ledger.hold_found(allocation, cost, reference=job.token, person=owner)
    record("job found on the cluster", job, by=None, project=project, number=one.scheduler_id, held=cost)
    post(
        "job_found",
        to=owner,
        key=f"job found {job.token}",
        path=reverse("jobs:detail", args=[job.pk]),
        job=job.name,
        project=project.title,
        cluster=cluster.title,
    )
    return job


def _tell_staff(cluster: Cluster, found: Sequence[Job]) -> None:
    for staff in people_with(Role.STAFF):
        post(
            "jobs_found",
            to=staff,
            key=f"jobs found {cluster.pk} {found[0].token}",
            path=f"{reverse('portal:audit')}?action=job+found+on+the+cluster",
            cluster=cluster.title,
            count=len(found),
        )
