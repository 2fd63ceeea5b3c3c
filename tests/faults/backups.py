"""A backup of the test's own database, and its restore: everything that was written in between is forgotten."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from django.db import connection, connections

Restore = Callable[[], None]


@contextmanager
def backup(folder: Path) -> Iterator[Restore]:
    """Of now. The database of this process alone may be open: no worker runs meanwhile, nor while it is restored."""
    with _of_sqlite(folder) if connection.vendor == "sqlite" else _of_postgres() as restore:
        yield restore


@contextmanager
def _of_sqlite(folder: Path) -> Iterator[Restore]:
    database, kept = Path(connection.settings_dict["NAME"]), folder / "backup.sqlite3"
    connections.close_all()
    shutil.copyfile(database, kept)

    def restore() -> None:
        connections.close_all()
        for journal in ("-wal", "-shm", "-journal"):
            database.with_name(database.name + journal).unlink(missing_ok=True)
        shutil.copyfile(kept, database)

    yield restore


@contextmanager
def _of_postgres() -> Iterator[Restore]:
    name = connection.settings_dict["NAME"]
    kept = f"{name}_backup"
    _copy(name, kept)
    try:
        yield lambda: _copy(kept, name)
    finally:
        _drop(kept)


def _copy(source: str, to: str) -> None:
    """A database is copied as a template while nobody uses it."""
    connections.close_all()
    _drop(to)
    with _server() as server:
        server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [source])
        server.execute(f'CREATE DATABASE "{to}" TEMPLATE "{source}"')


def _drop(name: str) -> None:
    with _server() as server:
        server.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def _server() -> psycopg.Connection[Any]:
    where = connection.settings_dict
    return psycopg.connect(
        host=where["HOST"],
        port=where["PORT"],
        user=where["USER"],
        password=where["PASSWORD"],
        dbname="postgres",
        autocommit=True,
    )
