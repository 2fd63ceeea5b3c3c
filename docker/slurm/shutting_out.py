"""Who may not log in any more? Off-boarding on the login node, as root: connections end, certificates are worth nothing.

In this order: the certificates are revoked by key id, the principals file is emptied, the account is locked, and then
whatever runs as the user is killed, but for what Slurm started: its jobs are ended by Slurm, which counts them.
The list of those who are out is the record: the file of revoked keys is made from it, anew at each change.
"""

import contextlib
import json
import os
import pwd
import signal
import time
from pathlib import Path

from instance import ClusterError, Instance, write_atomically
from posix_users import run

KILL_SECONDS = 10


def shut_out(username: str, instance: Instance) -> None:
    """May be repeated; also for a user who isn't there."""
    write_record(instance, recorded(instance) | {username})
    principals = instance.root / "principals" / username
    write_atomically(principals, "# Nobody logs in as this user any more.\n")
    try:
        uid = pwd.getpwnam(username).pw_uid
    except KeyError:
        return
    # Long ago: sshd refuses an expired account by itself, whatever is presented.
    run("usermod", "--lock", "--expiredate", "1970-01-02", username)
    end_logins(uid)


def let_in(username: str, instance: Instance) -> None:
    """Undo it for who comes back. Their principals file has been written anew."""
    if username not in recorded(instance):
        return
    write_record(instance, recorded(instance) - {username})
    run("usermod", "--password", "*", "--expiredate", "", username)


def recorded(instance: Instance) -> set[str]:
    record = record_of(instance)
    return set(json.loads(record.read_text())) if record.exists() else set()


def write_record(instance: Instance, out: set[str]) -> None:
    """The list, and the revoked keys that follow from it."""
    write_atomically(record_of(instance), json.dumps(sorted(out)) + "\n", mode=0o600)
    ssh = instance.root / "ssh"
    specification, draft = ssh / "revoked.txt", ssh / "revoked.krl.new"
    # As jobs/credentials.py names every certificate that it mints.
    write_atomically(specification, "".join(f"id: firefly-portal {username}\n" for username in sorted(out)))
    run("ssh-keygen", "-q", "-k", "-f", str(draft), "-s", str(ssh / "ca.pub"), str(specification))
    draft.chmod(0o644)
    draft.rename(ssh / "revoked.krl")


def record_of(instance: Instance) -> Path:
    return instance.root / "shut_out.json"


def end_logins(uid: int) -> None:
    """Kill what runs as `uid` outside of Slurm's steps, until nothing does: a program may be starting another."""
    deadline = time.monotonic() + KILL_SECONDS
    while alive := logins_of(uid):
        if time.monotonic() > deadline:
            raise ClusterError(f"Processes of the user {uid} can't be killed: {alive}")
        for pid in alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def logins_of(uid: int) -> list[int]:
    parents: dict[int, int] = {}
    names: dict[int, str] = {}
    theirs: list[int] = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            # PID (COMMAND) STATE PPID …, where the command may hold anything.
            head, _, tail = (entry / "stat").read_text().rpartition(")")
            owner = (entry / "status").read_text().split("\nUid:\t")[1].split("\t")[0]
        except (OSError, IndexError):
            continue  # it has just ended
        pid, state, parent = int(entry.name), tail.split()[0], int(tail.split()[1])
        parents[pid], names[pid] = parent, head.partition("(")[2]
        if int(owner) == uid and state != "Z":
            theirs.append(pid)
    return [pid for pid in theirs if not in_a_step(pid, parents, names)]


def in_a_step(pid: int, parents: dict[int, int], names: dict[int, str]) -> bool:
    while pid in parents:
        if names[pid] == "slurmstepd":
            return True
        pid = parents[pid]
    return False
