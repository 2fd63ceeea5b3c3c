"""Where do projects stand: granted, held, used, left?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta

from django.db.models import F, Min, Q

from accounting import ledger
from accounting.ledger import Balance
from accounting.models import Allocation, AllocationState
from portal.models import Project, Role, User
from portal.models.people import CENTRE_ROLES

NEARLY_USED_PERCENT = 90
SOON = timedelta(days=30)


@dataclass(frozen=True)
class AllocationStanding:
    """One allocation on one day."""

    allocation: Allocation
    balance: Balance
    on: date

    @property
    def days_total(self) -> int:
        return (self.allocation.end - self.allocation.start).days + 1

    @property
    def days_gone(self) -> int:
        return min(max((self.on - self.allocation.start).days, 0), self.days_total)

    @property
    def until(self) -> date:
        """Its last day; in grace, the last day on which what is left can be used."""
        return self.allocation.end if self.on <= self.allocation.end else self.allocation.usable_until

    @property
    def state(self) -> AllocationState:
        return self.allocation.state_on(self.on)

    @property
    def is_active(self) -> bool:
        return self.allocation.is_active(self.on)

    @property
    def nearly_used(self) -> bool:
        return self.balance.available * 100 < self.balance.granted * (100 - NEARLY_USED_PERCENT)

    @property
    def ends_soon(self) -> bool:
        return self.allocation.end - self.on <= SOON


@dataclass(frozen=True)
class Standing:
    """A project with its allocations; `total` and `until` are of those that are `usable`."""

    project: Project
    allocations: tuple[AllocationStanding, ...]

    @property
    def active(self) -> tuple[AllocationStanding, ...]:
        """On clusters that accept jobs first."""
        found = (one for one in self.allocations if one.is_active)
        return tuple(sorted(found, key=lambda one: not one.allocation.cluster.accepts_jobs))

    @property
    def usable(self) -> tuple[AllocationStanding, ...]:
        """The active ones on clusters that accept jobs; where none does, all active ones."""
        found = tuple(one for one in self.active if one.allocation.cluster.accepts_jobs)
        return found or self.active

    @property
    def suspended(self) -> tuple[AllocationStanding, ...]:
        return tuple(one for one in self.allocations if one.state == AllocationState.SUSPENDED)

    @property
    def clusters(self) -> tuple[str, ...]:
        """The titles of the clusters on which the usable ones are."""
        return tuple(dict.fromkeys(one.allocation.cluster.title for one in self.usable))

    @property
    def total(self) -> Balance:
        return sum((one.balance for one in self.usable), Balance())

    @property
    def until(self) -> date | None:
        """The day on which the next of its hours end."""
        return min((one.until for one in self.usable), default=None)


def standings(projects: Iterable[Project], *, on: date) -> list[Standing]:
    """Each project's allocations with their balances: three queries, whatever their number."""
    projects = list(projects)
    if not projects:
        return []
    known = {project.pk: project for project in projects}
    allocations = list(Allocation.objects.filter(project__in=known).select_related("cluster"))
    balances = ledger.balances(allocations)
    by_project: dict[int, list[AllocationStanding]] = defaultdict(list)
    for allocation in allocations:
        allocation.project = known[allocation.project_id]
        by_project[allocation.project_id].append(AllocationStanding(allocation, balances[allocation.pk], on))
    return [Standing(project, tuple(by_project[project.pk])) for project in projects]


def my_standings(user: User, *, on: date, most: int = 6) -> list[Standing]:
    """For Home: the active projects of my labs (or of my institution), those that end first on top."""
    projects = Project.objects.active().of_labs_of(user)
    if Role.INSTITUTION_ADMIN in user.roles and not user.roles & {*CENTRE_ROLES}:
        projects = Project.objects.active().visible_to(user)
    running = Q(allocations__start__lte=on, allocations__usable_until__gte=on, allocations__suspended_at=None)
    soonest = projects.annotate(until=Min("allocations__end", filter=running)).order_by(
        F("until").asc(nulls_last=True), "title", "pk"
    )
    return standings(soonest.select_related("lab")[:most], on=on)


def at_risk(standings: Iterable[Standing]) -> list[AllocationStanding]:
    """Of the hours that jobs can use now: those that end soon or are nearly used up."""
    return [one for row in standings for one in row.usable if one.nearly_used or one.ends_soon]
