"""Logins that this process keeps open between calls: by login node and POSIX user. docs/decisions/016 says for how long.

One is either here or in somebody's hands, never both. Here it waits at most IDLE, and no more than MOST wait; a session
itself ends before its certificate does. Threads may share it.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from jobs.ssh import LoginNode, Session

IDLE = 60.0  # seconds
MOST = 32


@dataclass(frozen=True)
class _Kept:
    node: LoginNode
    username: str
    session: Session
    since: float = field(default_factory=time.monotonic)

    @property
    def is_fresh(self) -> bool:
        return self.session.lasts(0) and time.monotonic() - self.since < IDLE


_lock = threading.Lock()
_kept: list[_Kept] = []  # the longest unused first
_dropped: dict[str, float] = {}  # by username: logins that began before are not kept
_clock: threading.Timer | None = None


def take(node: LoginNode, username: str, seconds: float) -> Session | None:
    """One that lasts for so long, if there is any: it is the caller's now, to give back or to close."""
    with _lock:
        for one in reversed(_kept):
            if (one.node, one.username) == (node, username) and one.is_fresh and one.session.lasts(seconds):
                _kept.remove(one)
                return one.session
    return None


def give_back(username: str, session: Session) -> None:
    """To be kept for the next call. The longest unused makes room."""
    with _lock:
        keep = session.lasts(0) and session.began > _dropped.get(username, 0.0)
        if keep:
            _kept.append(_Kept(session.node, username, session))
        out = [session] if not keep else [one.session for one in _kept[:-MOST]]
        del _kept[:-MOST]
        _wind()
    _close(out)


def drop(username: str) -> None:
    """Close this person's, and keep none that is in use now."""
    with _lock:
        _dropped[username] = time.monotonic()
        out = [one for one in _kept if one.username == username]
        _kept[:] = [one for one in _kept if one.username != username]
    _close([one.session for one in out])


def forget() -> None:
    """Close all, as the end of the process does."""
    global _clock
    with _lock:
        out = [one.session for one in _kept]
        _kept.clear()
        _dropped.clear()
        if _clock:
            _clock.cancel()
            _clock = None
    _close(out)


def count() -> int:
    with _lock:
        return len(_kept)


def _sweep() -> None:
    global _clock
    with _lock:
        _clock = None
        out = [one for one in _kept if not one.is_fresh]
        _kept[:] = [one for one in _kept if one not in out]
        _wind()
    _close([one.session for one in out])


def _wind() -> None:
    """Have somebody look when the next one may have waited too long. With the lock held."""
    global _clock
    if _kept and _clock is None:
        _clock = threading.Timer(max(0.1, IDLE - (time.monotonic() - _kept[0].since)), _sweep)
        _clock.daemon = True
        _clock.start()


def _close(sessions: list[Session]) -> None:
    for session in sessions:
        session.close()
