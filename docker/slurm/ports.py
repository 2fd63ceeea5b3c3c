"""Which ports are free on this machine?"""

import socket
from collections.abc import Set

from instance import NODES, Ports

FIRST, LAST = 17_000, 32_000  # below the range from which the kernel gives out ports by itself
SSH = 22_022


def choose(earlier: Ports | None, ssh: int | None, taken: Set[int]) -> Ports:
    """Free ports: those of the last time if nobody has taken them, and the wished one for ssh if it is free.

    `taken`: those of other instances, of which a daemon may just be down.
    """

    def free_or_next(port: int) -> int:
        return port if port and port not in taken and is_free(port) else next(others)

    wished = Ports(
        slurmctld=earlier.slurmctld if earlier else 0,
        slurmdbd=earlier.slurmdbd if earlier else 0,
        ssh=ssh or (earlier.ssh if earlier else SSH),
        slurmd=earlier.slurmd if earlier else (0,) * len(NODES),
    )
    spoken_for = {SSH, *wished.all(), *taken}
    others = (port for port in range(FIRST, LAST) if port not in spoken_for and is_free(port))
    return Ports(
        slurmctld=free_or_next(wished.slurmctld),
        slurmdbd=free_or_next(wished.slurmdbd),
        ssh=free_or_next(wished.ssh),
        slurmd=tuple(free_or_next(port) for port in wished.slurmd),
    )


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
