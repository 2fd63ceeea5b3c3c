"""A login node of the tests' own: the gateway as it is installed, and a real sshd on loopback before it.

Whoever runs the tests is also the user who logs in; the gateway's home is a folder of the test's.
"""

import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from jobs.credentials import load_ca_key
from jobs.ssh import LoginNode

REMOTE = Path(__file__).resolve().parent.parent.parent / "jobs" / "remote"
ME = pwd.getpwuid(os.getuid()).pw_name
READY_SECONDS = 20


@dataclass(frozen=True)
class Gateway:
    """The gateway installed below `root`, with a home and with programs in the place of Slurm's."""

    root: Path

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def program(self) -> Path:
        return self.root / "libexec" / "firefly-gateway"

    def folder(self, token: str) -> Path:
        return self.home / "firefly" / token

    def configure(self, **settings: str) -> None:
        every = {"path": f"{self.root / 'bin'}:/usr/bin:/bin", "username_prefix": "fp-", **settings}
        (self.root / "libexec" / "gateway.json").write_text(json.dumps(every))

    def slurm(self, program: str, script: str) -> None:
        """Put a shell script in the place of one of Slurm's programs."""
        path = self.root / "bin" / program
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def command(self, role: str = "member") -> list[str]:
        return ["/usr/bin/env", f"HOME={self.home}", sys.executable, str(self.program), "--role", role]

    def call(self, word: str, stdin: bytes, role: str = "member") -> subprocess.CompletedProcess[bytes]:
        noise = {
            "SSH_ORIGINAL_COMMAND": word,
            "SBATCH_ACCOUNT": "other",
            "SLURM_CONF": "/other",
            "TZ": "Asia/Tokyo",
        }
        return subprocess.run(
            self.command(role), input=stdin, capture_output=True, env={**os.environ, **noise}, timeout=60
        )

    def run(
        self, *calls: tuple[str, list[str], str], role: str = "member", budget: int = 30
    ) -> list[dict[str, Any]]:
        """The results of calls (verb, args, token)."""
        listed = [{"verb": verb, "args": args, "token": token} for verb, args, token in calls]
        done = self.call("talk", json.dumps({"v": 2, "budget": budget, "calls": listed}).encode(), role)
        assert done.returncode == 0 and done.stderr == b"", done
        results: list[dict[str, Any]] = json.loads(done.stdout)["results"]
        return results


def install_gateway(root: Path) -> Gateway:
    gateway = Gateway(root)
    for name in ("libexec", "bin", "home"):
        (root / name).mkdir(parents=True)
    shutil.copy(REMOTE / "gateway.py", gateway.program)
    shutil.copy(REMOTE / "job.sh", root / "libexec" / "job.sh")
    gateway.configure()
    return gateway


@dataclass(frozen=True)
class Sshd:
    """A running sshd that lets certificates of its CA run one command."""

    root: Path
    port: int

    @property
    def ca(self) -> Ed25519PrivateKey:
        return load_ca_key(self.root / "ca")

    @property
    def node(self) -> LoginNode:
        return LoginNode("127.0.0.1", self.port, public(self.root / "host_key"))

    @property
    def log(self) -> str:
        return (self.root / "sshd.log").read_text()


def public(key: Path) -> str:
    return " ".join(key.with_suffix(".pub").read_text().split()[:2])


def make_key(path: Path, kind: str = "ed25519") -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", path], check=True)
    return path


@contextmanager
def sshd(root: Path, command: str, *, ca: Path | None = None) -> Iterator[Sshd]:
    """`command`: what every login runs, with SSH_ORIGINAL_COMMAND set. `ca`: of another one, to be trusted here too."""
    root.mkdir(parents=True, exist_ok=True)
    ca = ca or make_key(root / "ca")
    make_key(root / "host_key")
    (root / "principals").write_text(f'restrict,from="127.0.0.1",command="{command}" portal-exec:{ME}\n')
    server = Sshd(root, free_port())
    (root / "sshd_config").write_text(
        f"""
ListenAddress 127.0.0.1
Port {server.port}
PidFile none
HostKey {root}/host_key
StrictModes no
UsePAM no
PermitRootLogin yes
AuthenticationMethods publickey
AuthorizedKeysFile none
TrustedUserCAKeys {ca}.pub
AuthorizedPrincipalsFile {root}/principals
SetEnv SHLVL=1
LogLevel VERBOSE
"""
    )
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program, "sshd is missing: install openssh-server"
    process = subprocess.Popen([program, "-D", "-f", root / "sshd_config", "-E", root / "sshd.log"])
    try:
        await_port(server.port)
        yield server
    finally:
        process.terminate()
        process.wait(10)


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port: int = listener.getsockname()[1]
        return port


def await_port(port: int) -> None:
    ends = time.monotonic() + READY_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert time.monotonic() < ends, "sshd does not listen"
            time.sleep(0.02)


@dataclass
class Wire:
    """A line between us and a server that can be cut, now or after so many more bytes from us."""

    target: int
    cut_after: int | None = None  # bytes
    carried: int = 0
    port: int = 0
    _socks: list[socket.socket] = field(default_factory=list)

    def __enter__(self) -> "Wire":
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        socks, self._socks = self._socks, []  # those that come meanwhile live on
        for sock in socks:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                ours, _ = self._listener.accept()
                theirs = socket.create_connection(("127.0.0.1", self.target))
                self._socks += [ours, theirs]
                threading.Thread(target=self._carry, args=(ours, theirs, True), daemon=True).start()
                threading.Thread(target=self._carry, args=(theirs, ours, False), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, is_ours: bool) -> None:
        with suppress(OSError):
            while chunk := source.recv(1 << 16):
                sink.sendall(chunk)
                if is_ours:
                    self._count(len(chunk))
        for sock in (source, sink):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _count(self, size: int) -> None:
        self.carried += size
        if self.cut_after is not None and self.carried > self.cut_after:
            self.cut_after = None
            self.cut()
