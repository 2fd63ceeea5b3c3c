"""Does this checkout's demo (or test) run, and where? A lock says so, which ends with its holder, however that ends."""

import fcntl
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dev import places, rights
from dev.say import Stop


@dataclass(frozen=True)
class Run:
    pid: int
    address: str  # "" while it is starting, and for tests

    def __str__(self) -> str:
        return f"at {self.address} (process {self.pid})" if self.address else f"as process {self.pid}"


@contextmanager
def only_one(what: str) -> Iterator[None]:
    """Holds the lock of `what`; stops if another process has it, and says where that is."""
    places.folder(places.STATE)
    with _lock(what).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stop = f"To stop it: Ctrl-C there, or kill {other.pid}." if (other := find(what)) else ""
            raise Stop(f"This checkout's {what} is already running {other or ''}. {stop}") from None
        rights.give_to_owner(_lock(what))
        announce(what, "")
        yield


@contextmanager
def in_turn(what: str) -> Iterator[None]:
    """Holds the lock of `what`; waits while another process has it."""
    places.folder(places.STATE)
    with _lock(what).open("a") as file:
        rights.give_to_owner(_lock(what))
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def announce(what: str, address: str) -> None:
    """Tells others where it answers."""
    _lock(what).write_text(json.dumps({"pid": os.getpid(), "address": address}) + "\n")


def find(what: str) -> Run | None:
    """The demo or test that runs from this checkout."""
    if not _lock(what).exists():
        return None
    with _lock(what).open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return Run(**json.load(file))
    return None


def stop(what: str, seconds: float = 60) -> bool:
    """Stops it, and waits until all that it started has ended; whether there was one."""
    other = find(what)
    if other is None:
        return False
    os.kill(other.pid, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while find(what) is not None:
        if time.monotonic() > deadline:
            raise Stop(f"The {what} (process {other.pid}) did not stop in {seconds:.0f} seconds.")
        pause.wait(0.2)
    return True


def _lock(what: str) -> Path:
    return places.STATE / f"{what}.lock"
