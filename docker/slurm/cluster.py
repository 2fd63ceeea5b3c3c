#!/usr/bin/python3
"""A whole Slurm on one machine, from Debian's packages, as root, without systemd.

  cluster.py packages                       the Debian packages it needs
  cluster.py users --prefix fp-             the system users it makes
  cluster.py up --state DIR --name NAME --prefix fp-
  cluster.py status --state DIR
  cluster.py exec --state DIR [--user NAME] -- COMMAND …
  cluster.py stop --state DIR DAEMON        ends one of its daemons, until `start`
  cluster.py start --state DIR DAEMON
  cluster.py down --state DIR               ends what `up` started
  cluster.py destroy --state DIR            … and removes its users and its state

See README.md beside this file.
"""

import argparse
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import namespace
import ports
import posix_users
from furnish import furnish
from instance import (
    MOUNTS,
    NAME,
    PREFIX,
    ClusterError,
    Instance,
    Settings,
    load,
    lock_path,
    owner,
    ports_of_others,
    runs,
)

RESTART_SECONDS = 30
PACKAGES = {
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "slurm-client": "sbatch",
    "slurmdbd": "slurmdbd",
    "slurm-wlm-basic-plugins": "/usr/lib/*/slurm-wlm/auth_munge.so",
    "munge": "munged",
    "mariadb-server": "mariadbd",
    "openssh-server": "sshd",
    "openssh-client": "ssh-keygen",
    "util-linux": "nsenter",
    "mount": "mount",
    "passwd": "useradd",
    "procps": "ps",
    "python3": "python3",
    "python3-sklearn": "/usr/lib/python3/dist-packages/sklearn",
    "python3-matplotlib": "/usr/lib/python3/dist-packages/matplotlib",
}
READY_SECONDS = 600


def packages(_arguments: argparse.Namespace) -> int:
    print("\n".join(PACKAGES))
    return 0


def users(arguments: argparse.Namespace) -> int:
    print(f"{arguments.prefix}collector  reads queue and accounting for the portal")
    print(f"{arguments.prefix}admin      makes the portal's accounts in Slurm")
    print(f"{arguments.prefix}fencer     keeps their budgets in Slurm")
    print(f"{arguments.prefix}…          one for each member, when the portal asks")
    return 0


def up(arguments: argparse.Namespace) -> int:
    check_machine()
    with one_start_at_a_time():
        instance = plan(arguments)
        if runs(instance):
            print(f"The cluster '{instance.settings.name}' is already up.")
            return 0
        began = time.monotonic()
        furnish(instance)
        report("folders, keys and configuration", time.monotonic() - began)
        instance.status.unlink(missing_ok=True)
        follow(instance, namespace.launch(instance))
        seconds = time.monotonic() - began
    print(
        f"The cluster '{instance.settings.name}' is up after {seconds:.1f} s; sshd listens on port {instance.settings.ports.ssh}."
    )
    return 0


def plan(arguments: argparse.Namespace) -> Instance:
    """The instance that shall run: what was asked for, and what an earlier start has settled."""
    state = arguments.state
    earlier = load(state)
    if earlier and (earlier.settings.name, earlier.settings.prefix) != (arguments.name, arguments.prefix):
        was = f"{earlier.settings.name} with the prefix {earlier.settings.prefix}"
        raise ClusterError(f"{state} holds the cluster {was}; destroy it first or choose another folder.")
    other = owner(arguments.name)
    if other and other != state:
        raise ClusterError(
            f"A cluster '{arguments.name}' is already running from {other}; take that one down first."
        )
    if earlier and other:
        if asked(arguments, earlier.settings) != asked(arguments, None):
            raise ClusterError(
                f"The cluster '{arguments.name}' is up with other settings; take it down first."
            )
        return earlier
    taken = ports_of_others(arguments.name)
    chosen = ports.choose(earlier.settings.ports if earlier else None, arguments.ssh_port, taken)
    if arguments.ssh_port and chosen.ssh != arguments.ssh_port:
        print(f"Port {arguments.ssh_port} is taken; sshd takes {chosen.ssh}.")
    return Instance(state, Settings(ports=chosen, **asked(arguments, None)))


def asked(arguments: argparse.Namespace, running: Settings | None) -> dict[str, Any]:
    fields = ("name", "prefix", "sources", "slurmdbd_tz", "min_job_age")
    source = running or arguments
    return {field: getattr(source, field) for field in fields}


def check_machine() -> None:
    if os.geteuid() != 0:
        raise ClusterError("The one-machine cluster runs daemons under several users: start it as root.")
    missing = [name for name, proof in PACKAGES.items() if not present(proof)]
    if missing:
        raise ClusterError(f"These Debian packages are missing: {' '.join(missing)}")


def present(proof: str) -> bool:
    if proof.startswith("/"):
        return any(Path("/").glob(proof[1:]))
    return (
        shutil.which(proof, path="/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin") is not None
    )


@contextmanager
def one_start_at_a_time() -> Iterator[None]:
    """Two instances that start together would choose the same ports."""
    MOUNTS.mkdir(mode=0o755, exist_ok=True)
    with (MOUNTS / "starting").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def follow(instance: Instance, first: subprocess.Popen[bytes]) -> None:
    """Print each step as it is done, until all is ready; whatever interrupts us takes the half-started cluster down."""
    signal.signal(signal.SIGTERM, interrupt)
    told = 0
    deadline = time.monotonic() + READY_SECONDS
    try:
        while True:
            ended = first.poll() is not None
            status = read_status(instance)
            for title, seconds in status["steps"][told:]:
                report(title, seconds)
            told = len(status["steps"])
            if status["phase"] == "up":
                return
            if ended:
                raise ClusterError(f"The cluster did not start: {status['reason'] or last_line(instance)}")
            if time.monotonic() > deadline:
                raise ClusterError(f"The cluster was not ready in {READY_SECONDS} s.")
            time.sleep(0.05)
    except BaseException:
        if read_status(instance)["pid"]:
            take_down(instance)
        first.kill()
        raise


def interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def report(title: str, seconds: float) -> None:
    print(f"  {title:<36} {seconds:5.1f} s", flush=True)


def read_status(instance: Instance) -> dict[str, Any]:
    nothing = {"phase": "down", "reason": "", "steps": [], "pid": 0, "inside": {}}
    with suppress(FileNotFoundError):
        return {**nothing, **json.loads(instance.status.read_text())}
    return nothing


def last_line(instance: Instance) -> str:
    lines = (instance.body / "log/init.log").read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "its first process said nothing"


def down(arguments: argparse.Namespace) -> int:
    instance = known(arguments.state)
    print(
        f"The cluster '{instance.settings.name}' {'is down now' if take_down(instance) else 'was not running'}."
    )
    return 0


def take_down(instance: Instance) -> bool:
    """End what `up` started; the answer is whether there was anything."""
    if not runs(instance):
        return False
    pid = read_status(instance)["pid"]
    if not pid:
        raise ClusterError(f"The cluster '{instance.settings.name}' is only just starting; try again.")
    namespace.end(pid)
    return True


def destroy(arguments: argparse.Namespace) -> int:
    instance = load(arguments.state)
    if instance is None:
        print(f"No cluster has been made in {arguments.state}.")
        return 0
    with one_start_at_a_time():
        take_down(instance)
        removed = leave_machine(instance)
        for folder in (instance.body, instance.ca_key.parent):
            if folder.exists():
                shutil.rmtree(folder)
        instance.portal_settings.unlink(missing_ok=True)
        instance.record.unlink()
    print(
        f"The cluster '{instance.settings.name}' is gone, and with it the users: {' '.join(removed) or 'none'}"
    )
    return 0


def leave_machine(instance: Instance) -> list[str]:
    """Remove what lies outside the state folder; the answer is the users removed.

    Another folder's instance may have started under this name since: then users, mount point and lock are its own.
    """
    if owner(instance.settings.name):
        return []
    removed = posix_users.remove_all(instance)
    with suppress(OSError):
        instance.root.rmdir()
    lock_path(instance.settings.name).unlink(missing_ok=True)
    return removed


def execute(arguments: argparse.Namespace) -> int:
    instance = known(arguments.state)
    if not runs(instance):
        raise ClusterError(f"The cluster '{instance.settings.name}' is not up.")
    user = None if arguments.user == "root" else arguments.user
    home = str(instance.home(user)) if user else "/root"
    environment = instance.environment(user or "root", home)
    pid = read_status(instance)["pid"]
    command = namespace.enter(pid, environment, home if user else "/", user, arguments.command)
    os.execvp(command[0], command)


def stop(arguments: argparse.Namespace) -> int:
    """One daemon, as its own SIGTERM ends it. It is not started again before `start`, or the next `up`."""
    instance = known(arguments.state)
    now = read_status(instance)
    if not runs(instance) or arguments.daemon not in now["inside"]:
        raise ClusterError(f"The cluster '{instance.settings.name}' runs no {arguments.daemon}.")
    instance.hold(arguments.daemon)
    number = str(now["inside"][arguments.daemon])
    kill = namespace.enter(now["pid"], instance.environment(), "/", None, ["kill", "-TERM", number])
    return subprocess.run(kill, check=False).returncode


def start(arguments: argparse.Namespace) -> int:
    """What was stopped, and wait until it is another process."""
    instance, daemon = known(arguments.state), arguments.daemon
    if not instance.is_held(daemon):
        return 0
    stopped = read_status(instance)["inside"].get(daemon)
    instance.release(daemon)
    deadline = time.monotonic() + RESTART_SECONDS
    while read_status(instance)["inside"].get(daemon) == stopped:
        if time.monotonic() > deadline:
            raise ClusterError(f"{daemon} did not start again in {RESTART_SECONDS} s.")
        time.sleep(0.1)
    return 0


def status(arguments: argparse.Namespace) -> int:
    """Exit code 0 if it is up, 3 if not."""
    instance = known(arguments.state)
    running = runs(instance)
    now = read_status(instance)
    print(f"{instance.settings.name}: {now['phase'] if running else 'down'}")
    if not running and now["phase"] == "failed":
        print(f"  {now['reason']}")
    for name, pid in now["inside"].items() if running else ():
        print(f"  {name:<14} {pid}")
    return 0 if running and now["phase"] == "up" else 3


def known(state: Path) -> Instance:
    instance = load(state)
    if instance is None:
        raise ClusterError(f"No cluster has been made in {state}.")
    return instance


def folder(text: str) -> Path:
    return Path(text).absolute()


def matching(pattern: Any, example: str) -> Any:
    def check(text: str) -> str:
        if not pattern.fullmatch(text):
            raise argparse.ArgumentTypeError(f"{text!r} does not look like {example}")
        return text

    return check


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    stateless = {"packages": packages, "users": users}
    stateful = {
        "up": up,
        "status": status,
        "exec": execute,
        "stop": stop,
        "start": start,
        "down": down,
        "destroy": destroy,
    }
    made = {}
    for name, action in {**stateless, **stateful}.items():
        made[name] = commands.add_parser(name)
        made[name].set_defaults(action=action)
        if name in stateful:
            made[name].add_argument("--state", type=folder, required=True, help="folder that holds all of it")
    for name in ("users", "up"):
        made[name].add_argument(
            "--prefix", type=matching(PREFIX, "fp-"), required=True, help="of all its users"
        )
    made["up"].add_argument("--name", type=matching(NAME, "demo"), required=True)
    made["up"].add_argument("--ssh-port", type=int, help="another free one is taken if this one is not")
    made["up"].add_argument(
        "--from", dest="sources", nargs="+", default=["127.0.0.1"], help="addresses that may log in"
    )
    made["up"].add_argument("--slurmdbd-tz", default="UTC", help="the zone whose hours sreport sums up")
    made["up"].add_argument(
        "--min-job-age", type=int, default=300, help="seconds that a finished job stays in the queue"
    )
    for name in ("stop", "start"):
        made[name].add_argument("daemon", help="as `status` calls it: slurmdbd")
    made["exec"].add_argument("--user", default="root")
    made["exec"].add_argument("command", nargs="+", metavar="-- COMMAND")
    return top


def main() -> int:
    arguments = parser().parse_args()
    os.umask(0o022)  # others have to pass through our folders
    if hasattr(arguments, "sources"):
        arguments.sources = tuple(arguments.sources)
    try:
        code: int = arguments.action(arguments)
    except ClusterError as trouble:
        print(trouble, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    return code


if __name__ == "__main__":
    sys.exit(main())
