"""What one instance of the cluster is: its settings, its places, and whether it runs.

Two roots: `state` is the folder of the caller (perhaps below /root, closed to others); `root` is the short,
world-traversable path at which state/cluster is mounted inside the instance's own mount namespace, so that
unix sockets stay below 108 characters and members reach their homes.
"""

import fcntl
import json
import os
import re
import time
from dataclasses import asdict, dataclass
from pathlib import Path

MOUNTS = Path("/run/firefly-portal")
NODES = ("gpu01", "gpu02", "gpu03", "gpu04")
NAME = re.compile(r"[a-z][a-z0-9_]{0,15}")
PREFIX = re.compile(r"[a-z][a-z0-9_-]{0,9}-")


class ClusterError(Exception):
    """Something a person has to know or mend; its text is the whole sentence."""


@dataclass(frozen=True)
class Ports:
    slurmctld: int
    slurmdbd: int
    ssh: int
    slurmd: tuple[int, ...]  # one for each of NODES

    def all(self) -> tuple[int, ...]:
        return (self.slurmctld, self.slurmdbd, self.ssh, *self.slurmd)


@dataclass(frozen=True)
class Settings:
    """What `up` was asked for; kept in cluster.json."""

    name: str
    prefix: str  # of every POSIX user of this instance
    sources: tuple[str, ...]  # addresses from which the portal may log in
    slurmdbd_tz: str  # the zone whose hours slurmdbd rolls up
    min_job_age: int  # seconds after which slurmctld forgets a finished job
    ports: Ports

    @property
    def collector(self) -> str:
        return f"{self.prefix}collector"

    @property
    def admin(self) -> str:
        return f"{self.prefix}admin"

    @property
    def fencer(self) -> str:
        return f"{self.prefix}fencer"

    def role(self, username: str) -> str:
        roles = {self.collector: "collector", self.admin: "admin", self.fencer: "fencer"}
        return roles.get(username, "member")


@dataclass(frozen=True)
class Instance:
    state: Path
    settings: Settings

    @property
    def record(self) -> Path:
        return self.state / "cluster.json"

    @property
    def ca_key(self) -> Path:
        return self.state / "ca" / "ca"

    @property
    def portal_settings(self) -> Path:
        return self.state / "clusters.toml"

    @property
    def body(self) -> Path:
        """Everything of the cluster, as seen from outside."""
        return self.state / "cluster"

    @property
    def root(self) -> Path:
        """The same, as seen from inside."""
        return MOUNTS / self.settings.name

    @property
    def status(self) -> Path:
        return self.body / "run" / "status.json"

    @property
    def users(self) -> Path:
        """The POSIX users made for this instance: a JSON object of username → uid."""
        return self.body / "users.json"

    @property
    def held_back(self) -> Path:
        """A file for each daemon that is not to be started again when it ends."""
        return self.body / "run" / "held"

    def hold(self, daemon: str) -> None:
        self.held_back.mkdir(exist_ok=True)
        (self.held_back / daemon).touch()

    def is_held(self, daemon: str) -> bool:
        return (self.held_back / daemon).exists()

    def release(self, daemon: str) -> None:
        (self.held_back / daemon).unlink(missing_ok=True)

    def release_all(self) -> None:
        for held in self.held_back.glob("*"):
            held.unlink()

    @property
    def munge_socket(self) -> Path:
        return self.root / "run" / "munge" / "socket"

    @property
    def mysql_socket(self) -> Path:
        return self.root / "run" / "mysql" / "socket"

    @property
    def slurm_conf(self) -> Path:
        return self.root / "etc" / "slurm.conf"

    @property
    def provision_requests(self) -> Path:
        return self.root / "provision" / "requests"

    @property
    def provision_answers(self) -> Path:
        return self.root / "provision" / "answers"

    def home(self, username: str) -> Path:
        return self.root / "home" / username

    def environment(self, username: str = "root", home: str = "/root") -> dict[str, str]:
        """The whole environment of a command inside the cluster."""
        return {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": home,
            "USER": username,
            "LOGNAME": username,
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "SLURM_CONF": str(self.slurm_conf),
        }


def save(instance: Instance) -> None:
    write_atomically(instance.record, json.dumps(asdict(instance.settings), indent=2) + "\n")


def load(state: Path) -> Instance | None:
    """The instance whose state lies in this folder; None if `up` has never been there."""
    record = state / "cluster.json"
    if not record.exists():
        return None
    fields = json.loads(record.read_text())
    ports = fields.pop("ports")
    sources = tuple(fields.pop("sources"))
    slurmd = tuple(ports.pop("slurmd"))
    return Instance(state, Settings(**fields, sources=sources, ports=Ports(**ports, slurmd=slurmd)))


def write_atomically(path: Path, text: str, mode: int = 0o644) -> None:
    """Replace a file so that a reader sees the old or the new one, never a part."""
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w") as file:
        os.fchmod(descriptor, mode)
        file.write(text)
    draft.rename(path)


def claim(instance: Instance) -> int:
    """Hold the instance's name until this process ends, however it ends.

    A lock and not a number: a process number means nothing in another PID namespace and is soon reused.
    """
    descriptor = os.open(lock_path(instance.settings.name), os.O_RDWR | os.O_CREAT, 0o644)
    # Somebody who only looks (`owner`) holds a shared lock for a moment: so not one try alone.
    deadline = time.monotonic() + 1
    while not locked(descriptor, fcntl.LOCK_EX):
        if time.monotonic() > deadline:
            raise ClusterError(f"The cluster '{instance.settings.name}' is already running.")
        time.sleep(0.02)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(instance.state).encode(), 0)
    return descriptor


def owner(name: str) -> Path | None:
    """The state folder of the instance that runs under this name; None if none does."""
    try:
        descriptor = os.open(lock_path(name), os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        return None if locked(descriptor, fcntl.LOCK_SH) else Path(os.pread(descriptor, 4096, 0).decode())
    finally:
        os.close(descriptor)


def ports_of_others(name: str) -> set[int]:
    """Of every other instance that runs."""
    names = [lock.stem for lock in MOUNTS.glob("*.lock") if lock.stem != name]
    states = [state for state in map(owner, names) if state]
    instances = [instance for instance in map(load, states) if instance]
    return {port for instance in instances for port in instance.settings.ports.all()}


def locked(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def runs(instance: Instance) -> bool:
    return owner(instance.settings.name) == instance.state


def lock_path(name: str) -> Path:
    return MOUNTS / f"{name}.lock"
