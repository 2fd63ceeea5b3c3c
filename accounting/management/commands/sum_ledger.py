"""`manage.py sum_ledger`: make the sums that are kept beside the ledger anew from its entries. Prints what differed."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from accounting.models import Allocation
from accounting.rebuilding import sums
from accounting.summing import sum_again


class Command(BaseCommand):
    help = (
        "Where a sum that is kept beside the ledger differs from its entries, as `check_balances` finds, make it anew "
        "from them, and print both in GPU-seconds. The entries stay as they are."
    )

    def handle(self, **options: Any) -> None:
        wrong = list(sums())
        for allocation in Allocation.objects.filter(pk__in={one.allocation_id for one in wrong}).order_by(
            "pk"
        ):
            sum_again(allocation)
        for one in wrong:
            self.stdout.write(f"{one.subject}: {one.found} was kept, {one.expected} by its entries")
        self.stdout.write(f"{len(wrong)} made anew." if wrong else "Every sum is what its entries are.")
