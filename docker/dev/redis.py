"""A Redis of our own: on loopback, with a password, keeping nothing. It carries doorbells, no truth."""

import os
import secrets
from pathlib import Path
from urllib.parse import urlsplit

from dev import places, rights, services
from dev.services import Service

FIRST_PORT = 6390


def service(instance: Path, earlier_url: str) -> tuple[Service, str]:
    """A Redis for this instance, and its address: the earlier one, if its port is still free."""
    earlier = urlsplit(earlier_url)
    port = services.free_port(earlier.port) if earlier.port else services.some_port(FIRST_PORT)
    password = earlier.password or secrets.token_urlsafe(24)
    file = _configuration(instance, port, password)
    log = instance / "log" / "redis.log"
    ready = services.says(log, "Ready to accept connections")
    return Service(
        "Redis", ["redis-server", str(file)], log, ready
    ), f"redis://:{password}@127.0.0.1:{port}/0"


def _configuration(instance: Path, port: int, password: str) -> Path:
    file = places.folder(instance) / "redis.conf"
    lines = [
        *(f"port {port}", "bind 127.0.0.1", "protected-mode yes", f"requirepass {password}"),
        *('save ""', "appendonly no", f"dir {instance}", "daemonize no"),
    ]
    opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)  # it holds the password
    with os.fdopen(opened, "w") as out:
        out.write("\n".join(lines) + "\n")
    rights.give_to_owner(file)
    return file
