"""What a job would cost at most, and which allocation pays for it; where none does, why, in words for the person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import NamedTuple

from django.utils import timezone
from django.utils.translation import gettext as _

from accounting import ledger
from accounting.models import Allocation, AllocationState, Partition
from accounting.units import hours, worst_case
from portal.models import Project, User


class Price(NamedTuple):
    """The worst case of a job, in GPU-seconds, at the factor of now."""

    cost: int
    factor: Decimal


@dataclass(frozen=True)
class Quote:
    """What a job would cost at most and leave, in GPU-seconds, before it is submitted."""

    cost: int
    factor: Decimal
    allocation: Allocation | None
    balance: ledger.Balance | None
    problem: str = ""  # why it can't be submitted, in words
    allowance: ledger.Allowance | None = None  # of the person, where the PI set a cap

    @property
    def after(self) -> int:
        return (self.balance.available if self.balance else 0) - self.cost

    @property
    def left(self) -> int:
        """What this person can use of it now."""
        available = self.balance.available if self.balance else 0
        return min(available, self.allowance.left) if self.allowance else available


def price_of(partition: Partition, gpus: int, time_limit_minutes: int, task_count: int = 1) -> Price:
    factor = partition.factor_at(timezone.now())
    return Price(worst_case(gpus, time_limit_minutes, factor, tasks=task_count), factor)


def quote(
    *,
    by: User,
    project: Project,
    partition: Partition,
    gpus: int,
    time_limit_minutes: int,
    task_count: int = 1,
) -> Quote:
    """The worst case of a job, against what the project and the person have left on that cluster. Reads only.

    It is paid by the allocation that ends first, of those that have enough for it.
    """
    price = price_of(partition, gpus, time_limit_minutes, task_count)
    candidates = _candidates(project, partition)
    if not candidates:
        return Quote(*price, None, None, no_hours(project, partition))
    return _best(price, candidates, by)


def payer_of(
    price: Price, *, by: User, project: Project, partition: Partition
) -> tuple[Allocation | None, str]:
    """Who pays, or None and why not.

    Where there is only one, its balance is not looked at here: taking the hold does so, under a lock.
    """
    candidates = _candidates(project, partition)
    if not candidates:
        return None, no_hours(project, partition)
    if len(candidates) == 1:
        return candidates[0], ""
    best = _best(price, candidates, by)
    return (None, best.problem) if best.problem else (best.allocation, "")


def _candidates(project: Project, partition: Partition) -> list[Allocation]:
    """Those that can be used today, the one that ends first at the front."""
    allocations = Allocation.objects.filter(project=project, cluster=partition.cluster_id)
    return list(allocations.active(timezone.now().date()).order_by("end", "pk"))


def _best(price: Price, candidates: Sequence[Allocation], by: User) -> Quote:
    balances = ledger.balances(candidates)
    allowances = ledger.allowances(candidates, by)
    offers = [Quote(*price, one, balances[one.pk], allowance=allowances.get(one.pk)) for one in candidates]
    best = next((offer for offer in offers if not _obstacle(offer)), None) or max(
        offers, key=lambda o: o.left
    )
    return replace(best, problem=_obstacle(best))


def _obstacle(offer: Quote) -> str:
    """Why this allocation can't pay for the job, in words; empty if it can."""
    if offer.balance and offer.cost > offer.balance.available:
        return too_little(offer.cost, offer.balance)
    if offer.allowance and offer.cost > offer.allowance.left:
        return over_cap(offer.cost, offer.allowance)
    return ""


def no_hours(project: Project, partition: Partition) -> str:
    """Why none of the project's allocations on the cluster can be used today."""
    today = timezone.now().date()
    for allocation in Allocation.objects.filter(project=project, cluster=partition.cluster_id):
        if allocation.state_on(today) == AllocationState.SUSPENDED:
            return _(
                "The centre has suspended this project's hours on this cluster: “%(reason)s”. "
                "Jobs that were submitted before go on."
            ) % {"reason": allocation.suspension_reason}
    return _("This project has no GPU-hours on this cluster now. Its PI can ask for some.")


def too_little(wanted: int, balance: ledger.Balance) -> str:
    return _(
        "This job could use up to %(wanted)s GPU-hours, but only %(available)s are available "
        "(%(held)s more are held for unfinished jobs). Ask for fewer GPUs or less time, or ask your PI for more hours."
    ) % {"wanted": hours(wanted), "available": hours(max(balance.available, 0)), "held": hours(balance.held)}


def over_cap(wanted: int, allowance: ledger.Allowance) -> str:
    return _(
        "This job could use up to %(wanted)s GPU-hours, but of the %(cap)s that your PI lets you use, %(left)s are left "
        "(%(used)s are used, %(held)s held for your unfinished jobs). Ask for fewer GPUs or less time, or ask your PI."
    ) % {
        "wanted": hours(wanted),
        "cap": hours(allowance.cap),
        "left": hours(max(allowance.left, 0)),
        "used": hours(allowance.used),
        "held": hours(allowance.held),
    }
