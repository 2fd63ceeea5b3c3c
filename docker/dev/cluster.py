"""The one-machine Slurm of docker/slurm: who asks it for what."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dev import places, rights, say, services
from dev.say import Stop


def packages() -> list[str]:
    return _ask("packages").split()


def users(prefix: str) -> list[str]:
    """A line for each system user that it makes."""
    return _ask("users", "--prefix", prefix).splitlines()


def command(verb: str, *words: str, state: Path = places.DEMO) -> list[str]:
    return [sys.executable, str(places.CLUSTER), verb, "--state", str(state), *words]


@contextmanager
def running(state: Path, name: str, prefix: str) -> Iterator[None]:
    """The cluster, up. It goes down at the end, and also when ./dev is killed."""
    guard = _guard(state)
    try:
        with say.step("Starting the Slurm cluster") as under_way:
            log = places.folder(state / "log") / "cluster.log"
            up = command("up", "--name", name, "--prefix", prefix, state=state)
            say.run_logged(under_way, up, log, _last_line)
        _give_to_owner(state)
        yield
    finally:
        services.hear_no_more_signals()
        with say.step("Stopping the Slurm cluster"):
            guard.communicate()


def check(state: Path) -> None:
    """Stops if the cluster of this folder, which was up, has ended."""
    first_process = json.loads((state / "cluster" / "run" / "status.json").read_text())["pid"]
    if not Path(f"/proc/{first_process}").exists():
        log = state / "cluster" / "log" / "init.log"
        raise Stop(f"The Slurm cluster has ended by itself. The end of {log}:\n{say.tail(log)}")


def destroy(state: Path) -> str:
    """Takes down the cluster of this folder and removes its users and files; what it says about it."""
    done = subprocess.run(command("destroy", state=state), capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip()


def _ask(*words: str) -> str:
    return subprocess.run(
        [sys.executable, str(places.CLUSTER), *words], capture_output=True, text=True, check=True
    ).stdout


def _guard(state: Path) -> subprocess.Popen[bytes]:
    """A process that takes the cluster down when our end of its pipe closes: at our end, however we end."""
    down = command("down", state=state)
    waits = ["sh", "-c", 'cat; exec "$@"', "guard", *down]
    return subprocess.Popen(
        waits,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _give_to_owner(state: Path) -> None:
    """The portal runs as the checkout's owner and reads where the cluster is and the key that signs its log-ins."""
    for name in ("clusters.toml", "ca", "ca/ca"):
        if (state / name).exists():
            rights.give_to_owner(state / name)


def _last_line(text: str) -> str:
    lines = text.split("\n")[:-1]
    return " ".join(lines[-1].split()[:-2]) + " is there" if lines else "preparing"
