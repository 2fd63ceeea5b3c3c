"""How the database keeps the ledger's sums: whoever adds entries, by whatever way, adds to them in the same transaction.

On PostgreSQL once for each statement, so that ten thousand charges of one INSERT change a sum once; always in the same
order, so that nobody waits for each other. SQLite knows triggers of single rows only, and one writer at a time.
"""

from __future__ import annotations

from typing import NamedTuple

from django.db import transaction
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations import RunPython
from django.db.migrations.state import StateApps
from django.db.models import BooleanField, Count, ExpressionWrapper, Q, QuerySet, Sum

from accounting import ledger
from accounting.models import Allocation, LedgerEntry, LedgerSum

_ADD = "INSERT INTO accounting_ledgersum (allocation_id, kind, of_runs, gpu_seconds, entries)"
_TO_WHAT_IS_THERE = """
ON CONFLICT (allocation_id, kind, of_runs) DO UPDATE
SET gpu_seconds = accounting_ledgersum.gpu_seconds + excluded.gpu_seconds,
    entries = accounting_ledgersum.entries + excluded.entries"""
_BY_KIND = """
SELECT allocation_id, kind, usage_record_id IS NOT NULL AS of_run, SUM(gpu_seconds), COUNT(*)
FROM {entries} GROUP BY allocation_id, kind, of_run ORDER BY allocation_id, kind, of_run"""

_SQLITE = f"""
CREATE TRIGGER accounting_ledgerentry_summed AFTER INSERT ON accounting_ledgerentry
BEGIN
{_ADD} VALUES (NEW.allocation_id, NEW.kind, NEW.usage_record_id IS NOT NULL, NEW.gpu_seconds, 1)
{_TO_WHAT_IS_THERE};
END
"""  # noqa: S608  # made of constants
_POSTGRESQL = f"""
CREATE FUNCTION accounting_ledgerentry_summed() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN
{_ADD} {_BY_KIND.format(entries="written")}
{_TO_WHAT_IS_THERE};
RETURN NULL;
END $$;
CREATE TRIGGER accounting_ledgerentry_summed AFTER INSERT ON accounting_ledgerentry
REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION accounting_ledgerentry_summed()
"""
_FORGET = {
    "postgresql": "DROP FUNCTION accounting_ledgerentry_summed CASCADE",
    "sqlite": "DROP TRIGGER IF EXISTS accounting_ledgerentry_summed",
}


def summed() -> RunPython:
    """A migration's operation: from here on the sums follow the entries, those that are there already included."""

    def forwards(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
        # The trigger first: on PostgreSQL, making it waits for whoever writes, and lets nobody write until we are done.
        editor.execute(_POSTGRESQL if editor.connection.vendor == "postgresql" else _SQLITE)
        editor.execute(_ADD + _BY_KIND.format(entries="accounting_ledgerentry"))

    def backwards(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
        editor.execute(_FORGET[editor.connection.vendor])

    return RunPython(forwards, backwards)


def summed_still() -> RunPython:
    """After every other operation on the ledger's table: SQLite makes it anew, and loses its triggers."""

    def again(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
        if editor.connection.vendor == "sqlite":
            editor.execute(_FORGET["sqlite"])
            editor.execute(_SQLITE)

    return RunPython(again, again)


class Cell(NamedTuple):
    """Which entries are summed up."""

    allocation_id: int
    kind: str
    of_runs: bool


class Total(NamedTuple):
    """Of how many entries, in GPU-seconds."""

    gpu_seconds: int = 0
    entries: int = 0


def of_entries(entries: QuerySet[LedgerEntry]) -> dict[Cell, Total]:
    """What the sums have to be: one query that reads every entry."""
    of_runs = ExpressionWrapper(Q(usage_record__isnull=False), BooleanField())
    rows = entries.order_by().annotate(of_runs=of_runs).values_list("allocation", "kind", "of_runs")
    return {Cell(*row[:3]): Total(*row[3:]) for row in rows.annotate(Sum("gpu_seconds"), Count("pk"))}


def as_kept() -> dict[Cell, Total]:
    rows = LedgerSum.objects.order_by().values_list("allocation", "kind", "of_runs", "gpu_seconds", "entries")
    return {Cell(*row[:3]): Total(*row[3:]) for row in rows}


@transaction.atomic
def sum_again(allocation: Allocation) -> None:
    """Make its sums anew from its entries. Whoever adds one meanwhile waits for us, and then adds to what we made."""
    ledger.lock(allocation)
    LedgerSum.objects.filter(allocation=allocation).delete()
    LedgerSum.objects.bulk_create(
        LedgerSum(**cell._asdict(), **total._asdict())
        for cell, total in of_entries(LedgerEntry.objects.filter(allocation=allocation)).items()
    )
