"""Which programs run now? Starts them in order, each only when the one before answers, and ends all of them."""

import ctypes
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from dev import places, rights, say
from dev.say import Stop

READY_SECONDS = 90  # a slow machine, its first start
STOP_SECONDS = 15  # a worker may finish what it is doing; what it can't finish is found again by the sweep
SET_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG
LIBC = ctypes.CDLL(None)


@dataclass(frozen=True)
class Service:
    """A program that stays in the foreground."""

    name: str
    command: list[str]
    log: Path
    ready: Callable[[], bool]
    cwd: Path = places.ROOT
    user: str | None = None  # None: the checkout's owner


@dataclass(frozen=True)
class Running:
    service: Service
    process: subprocess.Popen[bytes]

    def has_ended(self) -> bool:
        """Whether it has ended. It stays unreaped, so that its group keeps its number until we have ended that too."""
        ended = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self.process.pid, ended) is not None

    def last_words(self) -> str:
        log = self.service.log
        return f"The end of {log}:\n{say.tail(log)}"


class Crew:
    """What this ./dev started. Each is a process group of its own; all die with us, however we end."""

    def __init__(self) -> None:
        self._running: list[Running] = []
        self._checks: list[Callable[[], None]] = []

    def start(self, service: Service, env: dict[str, str]) -> None:
        """Starts it and returns when it is ready."""
        with say.step(f"Starting {service.name}"):
            self._await(self._spawn(service, env))

    def start_together(self, services: list[Service], env: dict[str, str]) -> None:
        """Starts those that don't need each other, and returns when all are ready."""
        with say.step(f"Starting {_and([service.name for service in services])}") as under_way:
            for running in [self._spawn(service, env) for service in services]:
                under_way.progress(f"waiting for {running.service.name}")
                self._await(running)

    def watch_also(self, check: Callable[[], None]) -> None:
        """Something that is not our child: `check` raises Stop once it is gone."""
        self._checks.append(check)

    def check(self) -> None:
        """Stops with the last lines of its log if one has ended."""
        for running in self._running:
            if running.has_ended():
                raise Stop(f"{_capital(running.service.name)} has ended by itself. {running.last_words()}")
        for check in self._checks:
            check()

    def watch(self) -> None:
        """Stays until one ends (Stop) or somebody stops us (KeyboardInterrupt)."""
        pause = threading.Event()
        while True:
            self.check()
            pause.wait(0.5)

    def run(self, command: list[str], env: dict[str, str], *, as_root: bool = False) -> int:
        """Runs a program beside the services; its exit status. It ends when one of them does."""
        how = {"env": env} if as_root else rights.as_owner(env)
        process = subprocess.Popen(command, cwd=places.ROOT, preexec_fn=_die_with_parent, **how)
        try:
            while True:
                self.check()
                with suppress(subprocess.TimeoutExpired):
                    return process.wait(0.5)
        finally:
            process.terminate()
            process.wait()

    def stop(self) -> None:
        if not self._running:
            return
        with say.step(f"Stopping {_and([running.service.name for running in self._running])}"):
            while self._running:
                _end(self._running.pop())

    def _spawn(self, service: Service, env: dict[str, str]) -> Running:
        places.folder(service.log.parent)
        with service.log.open("wb") as log:
            process = subprocess.Popen(
                service.command,
                cwd=service.cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent,
                **(rights.as_user(service.user, env) if service.user else rights.as_owner(env)),
            )
        running = Running(service, process)
        self._running.append(running)
        return running

    def _await(self, running: Running) -> None:
        deadline = time.monotonic() + READY_SECONDS
        pause = threading.Event()
        while not running.service.ready():
            if running.has_ended():
                raise Stop(f"{_capital(running.service.name)} ended while starting. {running.last_words()}")
            if time.monotonic() > deadline:
                name = _capital(running.service.name)
                raise Stop(f"{name} was not ready in {READY_SECONDS} seconds. {running.last_words()}")
            pause.wait(0.1)


@contextmanager
def crew() -> Iterator[Crew]:
    """A crew that is stopped at the end, whatever the end is."""
    ours = Crew()
    try:
        yield ours
    finally:
        hear_no_more_signals()
        ours.stop()


def end_on_signals() -> None:
    """SIGTERM and a closed terminal are like Ctrl-C: what we started is stopped. (A shell's `&` lets us ignore Ctrl-C.)"""
    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, _interrupt)


def hear_no_more_signals() -> None:
    """We are stopping already: an impatient second Ctrl-C must not leave half of it running."""
    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, signal.SIG_IGN)


def free_port(wished: int) -> int:
    """`wished`, or the next port that nobody listens on."""
    for port in range(wished, 65_536):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port
    raise Stop(f"All ports from {wished} on are taken.")


def some_port(first: int) -> int:
    """A free port from `first` on, not always the lowest: two checkouts may look for one in the same second."""
    return free_port(first + os.getpid() % 500)


def listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2):
        return True
    return False


def says(log: Path, words: str) -> Callable[[], bool]:
    """Whether the log has these words by now."""
    return lambda: log.exists() and words in log.read_text(errors="replace")


def _end(running: Running) -> None:
    process = running.process
    os.kill(process.pid, signal.SIGTERM)  # not process.terminate(), which would reap it if it has ended
    deadline = time.monotonic() + STOP_SECONDS
    pause = threading.Event()
    while not running.has_ended() and time.monotonic() < deadline:
        pause.wait(0.05)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # its own children too
    process.wait()


def _and(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _capital(name: str) -> str:
    return name[0].upper() + name[1:]


def _die_with_parent() -> None:
    LIBC.prctl(SET_DEATH_SIGNAL, signal.SIGTERM)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
