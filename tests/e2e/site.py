"""The running portal as the browser tests see it: where it answers, who can log in, what its programs wrote."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.running import await_ready, python_module, running, says, tail


@dataclass(frozen=True)
class Site:
    address: str
    emails: Mapping[str, str]  # by the person's name
    password: str  # everybody's
    account: str  # the scheduler's, of the project in which the tests' people work
    mark: str  # at the end of each account: the scheduler remembers earlier test runs
    logs: Path

    def last_words(self) -> Iterator[tuple[str, str]]:
        """What each program wrote last: (its name, the end of its log)."""
        for log in sorted(self.logs.glob("*.log")):
            yield log.stem, tail(log)


@contextmanager
def programs(address: str, env: Mapping[str, str], logs: Path) -> Iterator[None]:
    """The web server, the worker and the clock, all ready."""
    celery = ("celery", "-A", "portal")
    gunicorn = ("gunicorn", "portal.wsgi:application", "--workers", "1", "--threads", "8")
    listening = ("--bind", address.removeprefix("http://"), "--no-control-socket", "--access-logfile", "-")
    web, worker, beat = (logs / f"{name}.log" for name in ("web", "worker", "beat"))
    commands = {
        web: (*gunicorn, *listening),
        worker: (*celery, "worker", "--loglevel=INFO", "--concurrency=2"),
        beat: (*celery, "beat", "--loglevel=INFO", f"--schedule={logs / 'beat-schedule'}"),
    }
    ready = {web: answers(address), worker: says(worker, " ready."), beat: says(beat, "beat: Starting")}
    with ExitStack() as started:
        processes = {
            log: started.enter_context(running(python_module(*words), env, log))
            for log, words in commands.items()
        }
        for log, process in processes.items():
            await_ready(process, log, ready[log])
        yield


def answers(address: str) -> Callable[[], bool]:
    """Whether the log-in page comes."""

    host = address.removeprefix("http://")

    def does_answer() -> bool:
        try:
            connection = http.client.HTTPConnection(host, timeout=10)
            connection.request("GET", "/accounts/login/")
            return connection.getresponse().status == 200
        except OSError:
            return False

    return does_answer


def free_port() -> int:
    """One that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
