"""Who waits for a lock in the database? Only PostgreSQL says; SQLite has one writer at a time, and nobody to wait for."""

from __future__ import annotations

from django.db import connection

WAITING = "FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


def somebody_waits() -> bool:
    """On SQLite, True."""
    if connection.vendor != "postgresql":
        return True
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")  # or a transaction sees what it saw first
        cursor.execute(f"SELECT count(*) {WAITING}")
        return bool(cursor.fetchone()[0])


def end_who_waits() -> None:
    """As the server does once it notices that the program is dead; else it carries out what the dead one asked for."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT pg_terminate_backend(pid) {WAITING}")
