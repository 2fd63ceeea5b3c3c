"""A road with holes: a TCP proxy in front of sshd, or of Redis, that refuses, swallows, delays and cuts."""

from __future__ import annotations

import socket
import struct
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

CHUNK = 64 << 10
RESET = struct.pack("ii", 1, 0)  # closing says RST, as a broken line does, and no goodbye


class Proxy:
    """Passes everything on to `target` on loopback, until it is told otherwise. Any number of connections."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.delay = 0.0  # seconds for each piece, in both directions
        self.cut_after: int | None = None  # bytes towards the target; then all is cut, once …
        self.refuses_then = False  # … and nobody listens any more
        self.up = 0  # bytes passed on towards the target
        self.accepted = 0  # connections
        self._swallows = False
        self._lock = threading.Lock()
        self._ends: set[socket.socket] = set()
        self._listener = _bound(0)
        self.port: int = self._listener.getsockname()[1]
        self._open = threading.Event()
        self._closed = False

    def __enter__(self) -> Self:
        self.mend()
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        self.refuse()
        self._open.set()
        self._listener.close()

    # What may be wrong with it

    def mend(self) -> None:
        self._swallows, self.delay, self.cut_after, self.refuses_then = False, 0.0, None, False
        if not self._open.is_set():
            self._listener.listen(64)
            self._open.set()

    def refuse(self) -> None:
        """Nobody listens any more, and what was under way is cut."""
        self._open.clear()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes who accepts
        self._listener.close()
        self._listener = _bound(self.port)  # ours, while nobody listens on it
        self.cut()

    def swallow(self) -> None:
        """Accepts, and says nothing; what was under way hears no more either."""
        self._swallows = True

    def cut(self) -> None:
        with self._lock:
            ends, self._ends = self._ends, set()
        for end in ends:
            with suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                end.shutdown(socket.SHUT_RDWR)  # wakes who reads from it
            end.close()

    # Passing on

    def _accept(self) -> None:
        while not self._closed:
            self._open.wait()
            try:
                near, _ = self._listener.accept()
            except OSError:
                continue  # refused from now on
            self.accepted += 1
            self._join(near)

    def _join(self, near: socket.socket) -> None:
        try:
            far = socket.create_connection(("127.0.0.1", self.target), 5)
        except OSError:
            near.close()
            return
        for end in (near, far):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            end.settimeout(None)
        with self._lock:
            self._ends |= {near, far}
        threading.Thread(target=self._pass_on, args=(near, far, True), daemon=True).start()
        threading.Thread(target=self._pass_on, args=(far, near, False), daemon=True).start()

    def _pass_on(self, source: socket.socket, to: socket.socket, upward: bool) -> None:
        with suppress(OSError, ValueError):
            while chunk := source.recv(CHUNK):
                if self.delay:
                    time.sleep(self.delay)
                if self._swallows:
                    continue
                if upward:
                    self.up += len(chunk)
                    if self.cut_after is not None and self.up > self.cut_after:
                        self.cut_after = None
                        self.refuse() if self.refuses_then else self.cut()
                        return
                to.sendall(chunk)
            to.shutdown(socket.SHUT_WR)


def _bound(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    return listener
