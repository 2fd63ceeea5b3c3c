"""Starting the instance's namespaces, entering them, ending them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from instance import ClusterError, Instance

HERE = Path(__file__).parent
END_SECONDS = 60


def launch(instance: Instance) -> subprocess.Popen[bytes]:
    """Start boot.py as the first process of new namespaces; it survives us and takes everything with it when it ends."""
    with (instance.body / "log/init.log").open("ab") as log:
        return subprocess.Popen(
            [
                *("unshare", "--mount", "--pid", "--uts", "--fork", "--kill-child", *propagation()),
                *(sys.executable, str(HERE / "boot.py"), str(instance.state)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env={**instance.environment(), "PYTHONDONTWRITEBYTECODE": "1"},
            start_new_session=True,
        )


def propagation() -> list[str]:
    """Inside a chroot / may be no mount point, and its propagation can't be changed."""
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [] if "/" in points else ["--propagation", "unchanged"]


def enter(
    pid: int, environment: dict[str, str], folder: str, user: str | None, command: list[str]
) -> list[str]:
    """The command line that runs this command inside, as root or as this user, in this folder of the inside."""
    # --root: without it nsenter leaves the chroot that we may be in.
    inside = ["nsenter", f"--target={pid}", "--mount", "--pid", "--uts", f"--root=/proc/{pid}/root", "--"]
    become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "--"] if user else []
    variables = [f"{name}={value}" for name, value in environment.items()]
    return [*inside, "env", "--ignore-environment", f"--chdir={folder}", *variables, *become, *command]


def end(pid: int) -> None:
    """End the instance's first process, kindly first; everything else inside ends with it."""
    watch = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(watch, signal.SIGTERM)
        if not ended_within(pid, END_SECONDS):
            signal.pidfd_send_signal(watch, signal.SIGKILL)
            if not ended_within(pid, END_SECONDS):
                raise ClusterError(f"The cluster's first process, {pid}, does not end.")
    finally:
        os.close(watch)


def ended_within(pid: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while Path(f"/proc/{pid}").exists():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
