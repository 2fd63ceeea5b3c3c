"""What the ledger's entries of an allocation sum up to. The database itself writes it: `accounting.summing`."""

from __future__ import annotations

from django.db import models

from accounting.models.allocations import Allocation
from accounting.models.ledger import LedgerEntry


class LedgerSum(models.Model):
    """The entries of one kind on one allocation, those of runs and the others apart. Where there is none, no row.

    The ledger is the truth: `check_balances` holds each row against its entries, and `sum_ledger` makes it anew.
    """

    allocation = models.ForeignKey(Allocation, models.PROTECT, related_name="sums", db_index=False)
    kind = models.CharField(max_length=10, choices=LedgerEntry.Kind)
    of_runs = models.BooleanField()
    gpu_seconds = models.BigIntegerField()
    entries = (
        models.BigIntegerField()
    )  # how many are summed up: entries are never taken away, so it only grows

    class Meta:
        ordering = ["allocation", "kind", "of_runs"]
        constraints = [
            models.UniqueConstraint(fields=["allocation", "kind", "of_runs"], name="one_sum_of_each_kind")
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.gpu_seconds}"
