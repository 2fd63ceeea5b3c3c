"""Who is a POSIX user of this instance, and what may such a user log in for?

Making one is idempotent: a user left by an earlier start is taken over, a user of somebody else never.
"""

import fcntl
import grp
import json
import pwd
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from string import Template

from instance import MOUNTS, ClusterError, Instance, owner, write_atomically

USERNAME = re.compile(r"[a-z][a-z0-9_-]{0,30}")
# An ordinary user's uid by Debian's policy, far above where adduser begins and below what systemd gives out.
UIDS = range(51_000, 59_999)
SHELL = "/bin/bash"
PRINCIPALS = Path(__file__).parent / "templates" / "principals"


class Refused(ClusterError):
    """This user will not be made; the text says why."""


def check(username: str, instance: Instance) -> None:
    """Raise Refused unless a member of this instance may have this name."""
    prefix = instance.settings.prefix
    if not USERNAME.fullmatch(username) or not username.startswith(prefix) or username == prefix:
        raise Refused(
            f"A username here is '{prefix}' and then lower-case letters, digits, - and _; 31 at most."
        )
    if instance.settings.role(username) != "member":
        raise Refused(f"{username} is the portal's own user on this cluster.")


def provide(username: str, instance: Instance) -> int:
    """Make or take over the POSIX user, its home and its principals file; the answer is its uid."""
    uid = existing(username, instance)
    if uid is None:
        uid = create(username, instance)
    remember(username, uid, instance)
    make_home(instance.home(username), uid)
    admit(username, instance)
    return uid


def existing(username: str, instance: Instance) -> int | None:
    """The uid of a user who is ours already or, left behind by an instance that is down, becomes ours."""
    try:
        user = pwd.getpwnam(username)
    except KeyError:
        return None
    home = Path(user.pw_dir)
    if home == instance.home(username):
        return user.pw_uid
    if home.parent.name != "home" or home.parent.parent.parent != MOUNTS or user.pw_uid not in UIDS:
        raise Refused(f"{username} is a user of this machine already and not one of the portal's.")
    other = home.parent.parent.name
    if owner(other):
        raise Refused(f"{username} belongs to the cluster '{other}', which is running on this machine.")
    run("usermod", "--home", str(instance.home(username)), username)
    return user.pw_uid


def create(username: str, instance: Instance) -> int:
    known = recorded(instance)
    with one_at_a_time():
        return add(username, known.get(username), known, instance)


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Two instances that make a user at once would choose the same uid."""
    with (MOUNTS / "users").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def add(username: str, uid: int | None, known: dict[str, int], instance: Instance) -> int:
    if uid is None or taken(uid):
        uid = next_uid(known)
    # A user without a password is "locked" and sshd refuses it; '*' is no password and not locked.
    run(
        "useradd",
        *("--uid", str(uid), "--user-group", "--no-create-home", "--home-dir", str(instance.home(username))),
        *(
            "--shell",
            SHELL,
            "--password",
            "*",
            "--comment",
            f"Firefly Portal {instance.settings.name}",
            username,
        ),
    )
    return uid


def next_uid(known: dict[str, int]) -> int:
    """A uid that nobody has and nobody of this instance ever had: files outlive their owners."""
    for uid in range(max(known.values(), default=UIDS.start - 1) + 1, UIDS.stop):
        if not taken(uid):
            return uid
    raise Refused("This cluster has no free uid left.")


def taken(uid: int) -> bool:
    return any(user.pw_uid == uid for user in pwd.getpwall()) or any(
        group.gr_gid == uid for group in grp.getgrall()
    )


def make_home(home: Path, uid: int) -> None:
    home.mkdir(mode=0o700, exist_ok=True)
    if home.stat().st_uid != uid:
        run("chown", "--recursive", "--no-dereference", f"{uid}:{uid}", str(home))


def admit(username: str, instance: Instance) -> None:
    """Let certificates with the principal portal-exec:USERNAME run the gateway as this user, and nothing else."""
    line = Template(PRINCIPALS.read_text()).substitute(
        sources=",".join(instance.settings.sources),
        root=instance.root,
        role=instance.settings.role(username),
        username=username,
    )
    write_atomically(instance.root / "principals" / username, line)


def recorded(instance: Instance) -> dict[str, int]:
    users: dict[str, int] = json.loads(instance.users.read_text()) if instance.users.exists() else {}
    return users


def remember(username: str, uid: int, instance: Instance) -> None:
    users = recorded(instance)
    if users.get(username) != uid:
        write_atomically(instance.users, json.dumps({**users, username: uid}, indent=1) + "\n", mode=0o600)


def remove_left_behind(instance: Instance) -> None:
    """Remove users with a home here whom this instance has not made: their checkout was deleted, or has this one's name.

    Else the portal would find them, take them for made, and nobody would have admitted them. An instance that is only
    down makes its own again when it comes up.
    """
    known = recorded(instance)
    for user in [user for user in pwd.getpwall() if user.pw_uid in UIDS and user.pw_name not in known]:
        if is_mine(user.pw_name, instance):
            run("userdel", user.pw_name)


def remove_all(instance: Instance) -> list[str]:
    """Remove every recorded user whose home is still this instance's; the answer is their names."""
    mine = [name for name in recorded(instance) if is_mine(name, instance)]
    for username in mine:
        run("userdel", username)
    return mine


def is_mine(username: str, instance: Instance) -> bool:
    try:
        return Path(pwd.getpwnam(username).pw_dir) == instance.home(username)
    except KeyError:
        return False


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise ClusterError(f"{command[0]} failed: {(done.stderr or done.stdout).strip()}")
