"""A rule in the database itself: rows of a table may be added, never changed or removed."""

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations import RunPython
from django.db.migrations.state import StateApps

_SQLITE = """
CREATE TRIGGER {table}_no_{verb} BEFORE {VERB} ON {table}
BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END
"""
_POSTGRESQL = """
CREATE OR REPLACE FUNCTION {table}_append_only() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION '{table} is append-only' USING ERRCODE = 'integrity_constraint_violation'; END $$;
CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table}
FOR EACH ROW EXECUTE FUNCTION {table}_append_only()
"""


_NOT_EMPTIED = """
CREATE TRIGGER {table}_not_emptied BEFORE TRUNCATE ON {table}
FOR EACH STATEMENT EXECUTE FUNCTION {table}_append_only()
"""


def append_only(table: str) -> RunPython:
    """A migration's operation: from here on the database refuses UPDATE and DELETE on `table` with an IntegrityError."""

    def forwards(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
        if editor.connection.vendor == "postgresql":
            editor.execute(_POSTGRESQL.format(table=table))
            return
        for verb in ("update", "delete"):
            editor.execute(_SQLITE.format(table=table, verb=verb, VERB=verb.upper()))

    def backwards(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
        if editor.connection.vendor == "postgresql":
            editor.execute(f"DROP FUNCTION {table}_append_only CASCADE")
            return
        for verb in ("update", "delete"):
            editor.execute(f"DROP TRIGGER {table}_no_{verb}")

    return RunPython(forwards, backwards)


def append_only_still(table: str) -> RunPython:
    """After every other operation on `table`: SQLite changes a table by making it anew, and loses its triggers."""

    def again(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
        if editor.connection.vendor == "sqlite":
            for verb in ("update", "delete"):
                editor.execute(f"DROP TRIGGER IF EXISTS {table}_no_{verb}")
                editor.execute(_SQLITE.format(table=table, verb=verb, VERB=verb.upper()))

    return RunPython(again, again)


def not_emptied(table: str) -> RunPython:
    """After `append_only`: PostgreSQL refuses TRUNCATE, too, which passes by triggers of rows. SQLite knows no TRUNCATE."""

    def forwards(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
        if editor.connection.vendor == "postgresql":
            editor.execute(_NOT_EMPTIED.format(table=table))

    def backwards(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
        if editor.connection.vendor == "postgresql":
            editor.execute(f"DROP TRIGGER {table}_not_emptied ON {table}")

    return RunPython(forwards, backwards)
