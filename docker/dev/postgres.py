"""A PostgreSQL of our own for the tests: in a temporary folder, on loopback, with a password, gone afterwards."""

import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dev import rights, say, services
from dev.say import Stop
from dev.services import Crew, Service

USER = "postgres"  # made by Debian's package; the server refuses to run as root
FIRST_PORT = 5440
# Nothing of a test outlives it: no need to wait for the disk.
FAST = ["fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=60"]


@contextmanager
def running(log: Path) -> Iterator[str]:
    """The server, up; its DATABASE_URL."""
    # Not below the checkout, which this user may not be able to reach (/root).
    folder = Path(tempfile.mkdtemp(prefix="firefly-postgres-"))
    try:
        shutil.chown(folder, USER, USER)
        with services.crew() as crew:
            yield _start(crew, folder, log)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _start(crew: Crew, folder: Path, log: Path) -> str:
    data, password, port = folder / "data", secrets.token_urlsafe(24), services.some_port(FIRST_PORT)
    with say.step("Making a PostgreSQL database"):
        _initialise(data, password)
    listening = ["listen_addresses=127.0.0.1", f"port={port}", "unix_socket_directories="]
    settings = [word for setting in (*listening, *FAST) for word in ("-c", setting)]
    command = [str(_programs() / "postgres"), "-D", str(data), *settings]
    ready = services.says(log, "ready to accept connections")
    crew.start(Service("PostgreSQL", command, log, ready, cwd=folder, user=USER), {"LC_ALL": "C.UTF-8"})
    return f"postgres://{USER}:{password}@127.0.0.1:{port}/{USER}"


def _initialise(data: Path, password: str) -> None:
    initdb = [str(_programs() / "initdb"), "-D", str(data), "-A", "scram-sha-256", "-E", "UTF8", "--no-sync"]
    secret = data.parent / "password"  # in a folder that this user alone enters
    secret.write_text(password)
    done = subprocess.run(
        [*initdb, "-U", USER, f"--pwfile={secret}"],
        capture_output=True,
        text=True,
        cwd=data.parent,
        **rights.as_user(USER, {"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"}),
    )
    if done.returncode != 0:
        raise Stop(f"initdb failed: {done.stderr.strip()}")


def _programs() -> Path:
    """Debian keeps each version's programs in a folder of its own."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    if not found:
        raise Stop("PostgreSQL is not installed, although its package is. Reinstall the package postgresql.")
    return found[-1]
