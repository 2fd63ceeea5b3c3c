"""Which login node of a cluster is tried first, and which not at all.

A node that can't be reached, or breaks off a call, is put behind the others for a while. One whose host key is not the
pinned one is not tried again: until clusters.toml pins another key, or staff say that they have looked at it.

What this process saw it keeps for `take_news`; what others saw it is told by `learn` (`jobs.login_nodes` carries both).
Threads may share it.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from jobs.ssh import HostKeyMismatch, LoginNode, SshError

BEHIND = timedelta(minutes=5)
WELL_EVERY = timedelta(seconds=30)  # a node that goes on answering is no news more often


@dataclass(frozen=True)
class Seen:
    """One try of a node. No error: it let the portal in."""

    cluster: str
    node: LoginNode
    at: datetime
    error: SshError | None = None


_lock = threading.Lock()
_behind: dict[LoginNode, datetime] = {}  # until when
_distrusted: set[LoginNode] = set()
_news: dict[LoginNode, Seen] = {}
_well_told: dict[LoginNode, datetime] = {}


def order(nodes: Sequence[LoginNode]) -> list[LoginNode]:
    """Those to try, in this order; none whose host key changed."""
    now = datetime.now(UTC)
    with _lock:
        trusted = [node for node in nodes if node not in _distrusted]
        late = {node: until for node in trusted if (until := _behind.get(node, now)) > now}
    return sorted(trusted, key=lambda node: late.get(node, now))


def answered(cluster: str, node: LoginNode) -> None:
    now = datetime.now(UTC)
    with _lock:
        was_bad = _behind.pop(node, None) is not None
        if was_bad or now - _well_told.get(node, now - WELL_EVERY) >= WELL_EVERY:
            _well_told[node] = now
            _news[node] = Seen(cluster, node, now)


def failed(cluster: str, node: LoginNode, error: SshError) -> None:
    now = datetime.now(UTC)
    with _lock:
        if isinstance(error, HostKeyMismatch):
            _distrusted.add(node)
        _behind[node] = now + BEHIND
        _well_told.pop(node, None)
        _news[node] = Seen(cluster, node, now, error)


def take_news() -> list[Seen]:
    """The last try of each node since this was asked before."""
    with _lock:
        news = list(_news.values())
        _news.clear()
    return news


def learn(
    behind: Mapping[LoginNode, datetime], distrusted: Collection[LoginNode], well: Collection[LoginNode]
) -> None:
    """What all processes together know. News that were not taken yet are newer."""
    with _lock:
        for node, until in behind.items():
            _behind.setdefault(node, until)
        for node in well:
            if node not in _news:
                _behind.pop(node, None)
                _distrusted.discard(node)
        _distrusted.update(distrusted)


def forget() -> None:
    """Begin anew, as a fresh process does."""
    with _lock:
        for known in (_behind, _distrusted, _news, _well_told):
            known.clear()
