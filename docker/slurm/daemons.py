"""Which programs make up the cluster, how each starts, and when it is ready.

All stay in the foreground, so that the init (boot.py) is their parent and sees them end.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from instance import NODES, Instance

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Daemon:
    name: str
    command: tuple[str, ...]
    ready: Callable[[], bool]
    user: str | None = None  # None: starts as root and steps down by itself where it should
    environment: Mapping[str, str] = field(default_factory=dict)


def message_authority(instance: Instance) -> Daemon:
    folder, spool = instance.munge_socket.parent, instance.root / "spool" / "munge"
    return Daemon(
        "munged",
        (
            *("munged", "--foreground", f"--socket={instance.munge_socket}", f"--key-file={spool}/munge.key"),
            *(f"--pid-file={folder}/pid", f"--seed-file={spool}/seed", f"--log-file={spool}/munged.log"),
        ),
        ready=lambda: accepts_unix(instance.munge_socket),
        user="munge",
    )


def database(instance: Instance) -> Daemon:
    return Daemon(
        "mariadbd",
        ("mariadbd", f"--defaults-file={instance.root}/etc/mariadb.cnf"),
        ready=lambda: accepts_unix(instance.mysql_socket),
        user="mysql",
    )


def accounting(instance: Instance) -> Daemon:
    settings = instance.settings
    return Daemon(
        "slurmdbd",
        ("slurmdbd", "-D"),
        ready=lambda: accepts_tcp(settings.ports.slurmdbd) and "\n" in ask(instance, "sacctmgr -nP show qos"),
        environment={"MYSQL_UNIX_PORT": str(instance.mysql_socket), "TZ": settings.slurmdbd_tz},
    )


def controller(instance: Instance) -> Daemon:
    """Ready when accounting knows it as well: until then new associations do not reach it."""
    port = str(instance.settings.ports.slurmctld)
    return Daemon(
        "slurmctld",
        ("slurmctld", "-D"),
        ready=lambda: (
            accepts_tcp(int(port))
            and "is UP" in ask(instance, "scontrol ping")
            and port in ask(instance, "sacctmgr -nP show cluster format=controlport")
        ),
    )


def nodes(instance: Instance) -> list[Daemon]:
    return [
        Daemon(f"slurmd-{node}", ("slurmd", "-D", "-N", node), ready=partial(answers, instance, node))
        for node in NODES
    ]


def login_node(instance: Instance) -> Daemon:
    port = instance.settings.ports.ssh
    return Daemon(
        "sshd",
        # sshd executes itself again for each connection: only absolute paths will do.
        (
            "/usr/sbin/sshd",
            "-D",
            "-f",
            f"{instance.root}/etc/sshd_config",
            "-E",
            f"{instance.root}/log/sshd.log",
        ),
        ready=lambda: accepts_tcp(port, greeting=b"SSH-2.0"),
    )


def provisioner(instance: Instance) -> Daemon:
    command = (sys.executable, str(HERE / "provisioner.py"), str(instance.state))
    return Daemon("provisioner", command, ready=lambda: True)


def answers(instance: Instance, node: str) -> bool:
    """Whether the controller hears this node; "*" marks the ones that it does not (yet)."""
    state = ask(instance, f"sinfo -h -n {node} -o %T").split()
    return bool(state) and not any("*" in word or word.startswith("unk") for word in state)


def ask(instance: Instance, command: str) -> str:
    """The output of a Slurm command, empty if it failed: it is asked again."""
    try:
        done = subprocess.run(
            command.split(), capture_output=True, text=True, timeout=30, env=instance.environment()
        )
    except subprocess.TimeoutExpired:
        return ""
    return done.stdout if done.returncode == 0 else ""


def accepts_unix(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return connects(probe, os.fspath(path))


def accepts_tcp(port: int, greeting: bytes = b"") -> bool:
    with socket.socket() as probe:
        return connects(probe, ("127.0.0.1", port)) and (not greeting or probe.recv(255).startswith(greeting))


def connects(probe: socket.socket, address: str | tuple[str, int]) -> bool:
    probe.settimeout(5)
    try:
        probe.connect(address)
    except OSError:
        return False
    return True
