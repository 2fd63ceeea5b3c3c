"""What the web process can find out by itself, with a deadline: database, migrations, Redis. Says yes or why not, never raises."""

from __future__ import annotations

import redis
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

REDIS_SECONDS = 1.0
QUEUES = ("celery", "files")  # of rings, as portal.celery names them


def database() -> str:
    """ "" or why it can't be asked."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError as error:
        return _first_line(error)
    return ""


def migrations() -> str:
    """ "" or which are missing."""
    try:
        executor = MigrationExecutor(connection)
        missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError as error:
        return _first_line(error)
    return ", ".join(f"{migration.app_label}.{migration.name}" for migration, _backwards in missing)


def rings() -> tuple[dict[str, int], str]:
    """How many rings no worker has taken yet, by queue; and "", or why Redis can't be asked."""
    client = redis.Redis.from_url(
        settings.REDIS_URL, socket_timeout=REDIS_SECONDS, socket_connect_timeout=REDIS_SECONDS, retry=None
    )
    try:
        with client:
            lengths = {queue: client.llen(queue) for queue in QUEUES}
    except (redis.RedisError, OSError) as error:
        return {}, _first_line(error)
    return {queue: int(length) for queue, length in lengths.items()}, ""


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
