"""What a running program takes of the machine: memory, file handles, connections to somebody. From Linux's /proc."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")
ESTABLISHED = "01"


@dataclass(frozen=True)
class Footprint:
    memory: int  # bytes that are resident, of all its processes
    handles: int  # open files, sockets and pipes


def of_group(leader: int) -> Footprint:
    """A program and its children: all processes of the group that it leads."""
    memory = handles = 0
    for process in _members(leader):
        with suppress(OSError):  # it has just ended
            memory += int((process / "statm").read_text().split()[1]) * PAGE
            handles += sum(1 for _ in (process / "fd").iterdir())
    return Footprint(memory, handles)


def connections_to(port: int) -> int:
    """TCP connections of this machine's programs to a port, counted where they begin."""
    count = 0
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            _number, _local, remote, state, *_rest = line.split()
            count += state == ESTABLISHED and int(remote.rpartition(":")[2], 16) == port
    return count


def _members(leader: int) -> Iterator[Path]:
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            # After the name in brackets, which may hold anything: state, parent, group.
            if int((process / "stat").read_text().rpartition(")")[2].split()[2]) == leader:
                yield process
