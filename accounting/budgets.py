"""Who is told that so much of an allocation is used: its PIs, at each of STEPS, once for what is granted."""

from __future__ import annotations

from collections.abc import Iterable

from django.utils import timezone

from accounting import ledger
from accounting.ledger import Balance
from accounting.models import Allocation, BudgetNotice
from accounting.telling import tell_pis

STEPS = (50, 75, 90, 100)  # percent of what is granted, by charges: what is held may come back


def tell(allocations: Iterable[int]) -> int:
    """Mail what was not mailed yet about these (pks); how many notices are new. Belongs into the charge's transaction."""
    found = list(
        Allocation.objects.filter(pk__in=allocations)
        .active(timezone.now().date())
        .select_related("project__lab", "cluster")
    )
    balances = ledger.balances(found)
    told = set(
        BudgetNotice.objects.filter(allocation__in=found).values_list("allocation", "percent", "granted")
    )
    return sum(_tell(one, balances[one.pk], told) for one in found)


def tell_missed() -> int:
    """About every allocation that can be used: what a charge told already is not told again."""
    return tell(Allocation.objects.active(timezone.now().date()).values_list("pk", flat=True))


def _tell(allocation: Allocation, balance: Balance, told: set[tuple[int, int, int]]) -> int:
    """One mail, of the highest step; those below it are passed, too."""
    due = [step for step in reached(balance) if (allocation.pk, step, balance.granted) not in told]
    new = [step for step in due if _is_first(allocation, step, balance.granted)]
    if new:
        tell_pis(
            "budget",
            allocation,
            reason=f"{max(new)} % of {balance.granted} used",
            percent=max(new),
            used=balance.used,
            granted=balance.budget,
            left=balance.available,
            held=balance.held,
        )
    return len(new)


def reached(balance: Balance) -> list[int]:
    """The steps that what was used has come to."""
    if balance.budget <= 0:
        return []
    return [step for step in STEPS if balance.used * 100 >= step * balance.budget]


def _is_first(allocation: Allocation, step: int, granted: int) -> bool:
    return BudgetNotice.objects.get_or_create(allocation=allocation, percent=step, granted=granted)[1]
