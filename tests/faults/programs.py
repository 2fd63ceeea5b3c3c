"""What runs beside a test: the portal's worker and clock, which can be killed; daemons of the cluster, frozen."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from django.db import connections

from tests.cluster.one_machine import SlurmCluster
from tests.running import await_ready, environment, python_module, running, says

Process = subprocess.Popen[bytes]


def worker(log: Path, *words: str, **env: str) -> AbstractContextManager[Process]:
    """A Celery worker on this test's database, in a process group of its own. It may still be starting."""
    own = ("celery", "-A", "portal", "worker", "--concurrency=1", "--loglevel=INFO", *words)
    return running(python_module(*own), environment(**env), log)


@contextmanager
def ready_worker(log: Path, *words: str, **env: str) -> Iterator[Process]:
    with worker(log, *words, **env) as process:
        await_ready(process, log, says(log, " ready."))
        yield process


@contextmanager
def beat(log: Path, **env: str) -> Iterator[Process]:
    """The clock, ticking."""
    words = (
        "celery",
        "-A",
        "portal",
        "beat",
        "--loglevel=INFO",
        f"--schedule={log.with_suffix('.schedule')}",
    )
    with running(python_module(*words), environment(**env), log) as process:
        await_ready(process, log, says(log, "beat: Starting"))
        yield process


@contextmanager
def frozen(slurm: SlurmCluster, program: str) -> Iterator[None]:
    """SIGSTOP to all processes of that name on the cluster."""
    slurm.said("pkill", "-STOP", "-x", program)
    try:
        yield
    finally:
        slurm.said("pkill", "-CONT", "-x", program)


@contextmanager
def aside(deed: Callable[[], object]) -> Iterator[None]:
    """While it is done in a thread of its own; it has ended afterwards, and raises what it raised."""

    def do() -> None:
        try:
            deed()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as thread:
        under_way = thread.submit(do)
        yield
        under_way.result()
