"""Does this checkout's demo run, and where? A lock says so that ends with its holder, however that ends."""

import fcntl
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from dev import places, rights
from dev.say import Stop

LOCK = places.STATE / "demo.lock"


@dataclass(frozen=True)
class Demo:
    pid: int
    address: str  # "" while it is starting


@contextmanager
def only_one() -> Iterator[None]:
    """Holds the lock; stops with the other's address if another has it."""
    places.folder(places.STATE)
    opened = os.open(LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(opened)
        other = demo()
        where = f"at {other.address}" if other and other.address else "and is just starting"
        raise Stop(
            f"This checkout's demo is already running {where}. To stop it: ./dev clean, or Ctrl-C there."
        ) from None
    rights.give_to_owner(LOCK)
    announce("")
    try:
        yield
    finally:
        os.close(opened)


def announce(address: str) -> None:
    """Tells others where the demo answers."""
    LOCK.write_text(json.dumps({"pid": os.getpid(), "address": address}) + "\n")


def demo() -> Demo | None:
    """The demo that runs from this checkout."""
    if not LOCK.exists():
        return None
    with LOCK.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return Demo(**json.load(file))
    return None


def stop(seconds: float = 60) -> bool:
    """Stops the running demo, and waits until all that it started has ended; whether there was one."""
    other = demo()
    if other is None:
        return False
    os.kill(other.pid, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while demo() is not None:
        if time.monotonic() > deadline:
            raise Stop(f"The demo (process {other.pid}) did not stop in {seconds:.0f} seconds.")
        pause.wait(0.2)
    return True
