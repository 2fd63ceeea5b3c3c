"""Which ports are free on this machine?"""

import socket
from collections.abc import Iterator

from instance import NODES, Ports

FIRST, LAST = 17_000, 32_000  # below the range from which the kernel gives out ports by itself
SSH = 22_022


def choose(earlier: Ports | None, ssh: int | None) -> Ports:
    """Free ports: those of the last time if nobody has taken them, and the wished one for ssh if it is free."""
    wished = Ports(
        slurmctld=earlier.slurmctld if earlier else 0,
        slurmdbd=earlier.slurmdbd if earlier else 0,
        ssh=ssh or (earlier.ssh if earlier else SSH),
        slurmd=earlier.slurmd if earlier else (0,) * len(NODES),
    )
    others = (port for port in range(FIRST, LAST) if port not in {SSH, *wished.all()} and is_free(port))
    return Ports(
        slurmctld=free_or_next(wished.slurmctld, others),
        slurmdbd=free_or_next(wished.slurmdbd, others),
        ssh=free_or_next(wished.ssh, others),
        slurmd=tuple(free_or_next(port, others) for port in wished.slurmd),
    )


def free_or_next(wished: int, others: Iterator[int]) -> int:
    return wished if wished and is_free(wished) else next(others)


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
