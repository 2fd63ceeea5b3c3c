"""The portal's own programs, run beside the tests: on the test's database, each in a process group of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from django.conf import settings
from django.db import connection

from tests.cluster.one_machine import CHECKOUT, until

START_SECONDS = 60
STOP_SECONDS = 10  # for a goodbye; then the whole group is killed


def database_url() -> str:
    """The database that this test run made, for another program."""
    database = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{database['NAME']}"
    return "postgresql://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}".format(**database)


def environment(**more: str) -> dict[str, str]:
    """What a program of the portal needs to see what this test sees."""
    return {
        **os.environ,
        "DATABASE_URL": database_url(),
        "CLUSTERS_FILE": str(settings.CLUSTERS_FILE),
        "POSIX_PREFIX": settings.POSIX_PREFIX,
        "UPLOAD_ROOT": str(settings.UPLOAD_ROOT),
        "ATTACHMENT_ROOT": str(settings.ATTACHMENT_ROOT),
        "DJANGO_SETTINGS_MODULE": "portal.settings",
        "MALLOC_ARENA_MAX": "2",  # as in docker/Dockerfile
        **more,
    }


def python_module(*words: str) -> list[str]:
    """The command that runs a module of the tests' own Python: ("celery", "-A", "portal", …)."""
    return [sys.executable, "-m", *words]


@contextmanager
def running(command: list[str], env: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A program that stays; it and its children have ended afterwards."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=CHECKOUT, env=env, stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield process
    finally:
        end(process)


def await_ready(process: subprocess.Popen[bytes], log: Path, ready: Callable[[], bool]) -> None:
    """Returns when it is ready; the test fails with the end of its log if it ends instead."""

    def is_ready() -> bool:
        assert process.poll() is None, f"{process.args!r} ended while starting:\n{tail(log)}"
        return ready()

    until(is_ready, START_SECONDS)


def kill(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to a program and its children: nothing is said goodbye to."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def end(process: subprocess.Popen[bytes]) -> None:
    """A goodbye, and a kill for what does not hear it."""
    if process.poll() is not None:
        return
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def says(log: Path, words: str) -> Callable[[], bool]:
    """Whether the log has these words by now."""
    return lambda: words in log.read_text(errors="replace")


def tail(log: Path, lines: int = 40) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
