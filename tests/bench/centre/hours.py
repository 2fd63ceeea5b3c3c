"""Clusters and their prices; requests, what was said of them, and the allocations that came of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from accounting.models import (
    Allocation,
    AllocationRequest,
    Cluster,
    LedgerEntry,
    Partition,
    Publication,
    RequestLine,
    Review,
    TechnicalReview,
)
from portal.models import Project
from tests.bench.centre import sizes
from tests.bench.centre.people import Places
from tests.bench.centre.sizes import BATCH, Dice, dice

HOUR = 3_600
State = AllocationRequest.State


@dataclass(frozen=True)
class Hours:
    allocations_of: dict[int, list[Allocation]]  # by the project's pk
    partitions_of: dict[int, list[Partition]]  # by the cluster's pk
    requests: list[AllocationRequest]


def fill(places: Places) -> Hours:
    clusters = _clusters()
    partitions_of = {one.pk: list(one.partitions.order_by("pk")) for one in clusters}
    awards = _awards(places, clusters)
    wishes = _wishes(places, clusters)
    _lines(awards + wishes, partitions_of)
    _advice(places, wishes)
    _publications(places)
    by_project: dict[int, list[Allocation]] = {}
    for allocation in Allocation.objects.order_by("pk"):
        by_project.setdefault(allocation.project_id, []).append(allocation)
    return Hours(by_project, partitions_of, awards + wishes)


def _clusters() -> list[Cluster]:
    """The first one, and one of which only the accounting is kept."""
    second, _made = Cluster.objects.get_or_create(
        name="ember", defaults={"title": "Ember", "accepts_jobs": False}
    )
    for cluster in (Cluster.objects.order_by("pk")[0], second):
        for number in range(3):
            Partition.objects.get_or_create(
                cluster=cluster,
                name=f"h100-{number}",
                defaults={
                    "gpu_type": "h100",
                    "node_count": 300,
                    "gpus_per_node": 8,
                    "cpus_per_gpu": 16,
                    "memory_per_gpu_mib": 81_920,
                    "max_time_minutes": 2_880,
                },
            )
    return list(Cluster.objects.order_by("pk"))


def _awards(places: Places, clusters: list[Cluster]) -> list[AllocationRequest]:
    """One that has ended and one that runs for most projects; each from an approved request."""
    throw, today = dice(11), places.now.date()
    plans = []
    for project in places.projects:
        if project.state not in (Project.State.ACTIVE, Project.State.CLOSED):
            continue
        starts = [today - timedelta(days=500), today - timedelta(days=throw.upto(120))]
        plans += [(project, start, start + timedelta(days=364)) for start in starts]
    awards = AllocationRequest.objects.bulk_create(
        [
            _request(places, throw, project, clusters[0] if throw.happens(0.9) else clusters[-1])
            for project, _start, _end in plans
        ],
        BATCH,
    )
    for award, (_project, start, end) in zip(awards, plans, strict=True):
        award.state, award.start, award.end = State.APPROVED, start, end
        award.submitted_at = places.now - timedelta(days=(today - start).days + 20)
        award.decided_at = award.submitted_at + timedelta(days=1 + throw.upto(15))
    AllocationRequest.objects.bulk_update(
        awards, ["state", "start", "end", "submitted_at", "decided_at"], 500
    )
    allocations = Allocation.objects.bulk_create(
        [
            Allocation(project=one.project, cluster=one.cluster, start=start, end=end, usable_until=end)
            for one, (_project, start, end) in zip(awards, plans, strict=True)
        ],
        BATCH,
    )
    reviews = Review.objects.bulk_create(
        [
            Review(
                request=one,
                reviewer=throw.evenly(places.centre),
                verdict=Review.Verdict.APPROVED,
                gpu_seconds_awarded=one.gpu_seconds_asked,
                at=one.decided_at or places.now,
            )
            for one in awards
        ],
        BATCH,
    )
    LedgerEntry.objects.bulk_create(
        [
            LedgerEntry(
                allocation=allocation,
                kind=LedgerEntry.Kind.GRANT,
                gpu_seconds=review.gpu_seconds_awarded,
                review=review,
                actor=review.reviewer,
                at=review.at,
            )
            for allocation, review in zip(allocations, reviews, strict=True)
        ],
        BATCH,
    )
    return awards


def _request(places: Places, throw: Dice, project: Project, cluster: Cluster) -> AllocationRequest:
    today = places.now.date()
    return AllocationRequest(
        project=project,
        cluster=cluster,
        state=State.DRAFT,
        gpu_seconds_asked=(1 + throw.upto(20)) * 1_000 * HOUR,
        start=today,
        end=today + timedelta(days=364),
        justification="Sweeps over the lattice, and one long run of the model that comes out best. " * 5,
        created_by=places.leader_of[project.lab_id],
        created_at=places.now - timedelta(days=throw.upto(600), minutes=throw.upto(1_000)),
    )


def _wishes(places: Places, clusters: list[Cluster]) -> list[AllocationRequest]:
    """Requests of every other kind of fate: waiting, returned, rejected, not sent yet."""
    throw = dice(12)
    fates = (State.REJECTED, State.REJECTED, State.WITHDRAWN, State.RETURNED, State.DRAFT)
    wishes = []
    for number in range(sizes.REQUESTS):
        wish = _request(places, throw, throw.one(places.projects), clusters[0])
        wish.state = (
            (State.SUBMITTED, State.ENDORSED)[number % 5 == 0]
            if number < sizes.WAITING
            else throw.evenly(fates)
        )
        if wish.state != State.DRAFT:
            wish.submitted_at = wish.created_at + timedelta(days=1)
        if wish.state == State.REJECTED:
            wish.decided_at = wish.created_at + timedelta(days=9)
        wishes.append(wish)
    wishes = AllocationRequest.objects.bulk_create(wishes, BATCH)
    verdicts = {
        State.REJECTED: Review.Verdict.REJECTED,
        State.RETURNED: Review.Verdict.RETURNED,
        State.ENDORSED: Review.Verdict.ENDORSED,
    }
    Review.objects.bulk_create(
        (
            Review(
                request=one,
                reviewer=throw.evenly(places.centre),
                verdict=verdicts[State(one.state)],
                gpu_seconds_awarded=one.gpu_seconds_asked if one.state == State.ENDORSED else 0,
                comment="Say more about the second part.",
                at=one.decided_at or one.submitted_at or places.now,
            )
            for one in wishes
            if one.state in verdicts
        ),
        BATCH,
    )
    return wishes


def _lines(requests: list[AllocationRequest], partitions_of: dict[int, list[Partition]]) -> None:
    RequestLine.objects.bulk_create(
        (
            RequestLine(
                request=one, partition=partitions_of[one.cluster_id][0], gpu_seconds=one.gpu_seconds_asked
            )
            for one in requests
        ),
        BATCH,
    )


def _advice(places: Places, wishes: list[AllocationRequest]) -> None:
    throw, today = dice(13), places.now.date()
    TechnicalReview.objects.bulk_create(
        TechnicalReview(
            request=one,
            reviewer=places.centre[number % len(places.centre)],
            asked_by=throw.evenly(places.centre),
            due=today + timedelta(days=14),
        )
        for number, one in enumerate(wish for wish in wishes if wish.is_waiting)
    )


def _publications(places: Places) -> None:
    throw = dice(14)
    Publication.objects.bulk_create(
        (
            Publication(
                project=project,
                doi=f"10.1000/{project.slug}.{number}",
                title=f"On {project.title}, part {number}",
                year=2026 - number,
                added_by=places.leader_of[project.lab_id],
            )
            for project in places.projects
            for number in range(throw.upto(4))
        ),
        BATCH,
    )
