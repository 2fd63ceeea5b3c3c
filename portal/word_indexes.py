"""Indexes by which PostgreSQL finds a word in the middle of a text (`icontains`). SQLite has none, and looks at each row."""

from __future__ import annotations

from typing import Any

from django.contrib.postgres.operations import TrigramExtension
from django.db import migrations
from django.db.migrations.operations.base import Operation

DEFINITION = "CREATE INDEX {name} ON {table} USING gin (upper({column}::text) gin_trgm_ops)"


def word_indexes(**columns: tuple[str, str]) -> list[Operation]:
    """Operations of a migration, by the index's name: (table, column). Whoever owns the database may do all of them."""

    def make(apps: Any, editor: Any) -> None:
        if editor.connection.vendor == "postgresql":
            for name, (table, column) in columns.items():
                editor.execute(DEFINITION.format(name=name, table=table, column=column))

    def drop(apps: Any, editor: Any) -> None:
        if editor.connection.vendor == "postgresql":
            for name in columns:
                editor.execute(f"DROP INDEX {name}")

    return [TrigramExtension(), migrations.RunPython(make, drop)]
