"""Who does what: root installs packages and makes users, the checkout's owner does all the rest."""

import os
import pwd
import shutil
import sys
from pathlib import Path
from typing import Any

from dev.say import Stop

CHECKOUT = Path(__file__).resolve().parents[2]
# What sudo would drop and a person may have set for pip, npm, apt, or the portal.
KEPT_PREFIXES = ("PIP_", "npm_config_", "NODE_", "SSL_CERT", "REQUESTS_CA", "FIREFLY_", "PYTEST_")
KEPT = {
    *("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "TERM", "LANG", "CI"),
    *("DATABASE_URL", "REDIS_URL", "SITE_URL", "ALLOWED_HOSTS", "CSRF_TRUSTED_ORIGINS", "CENTRE_NAME"),
    *("CLUSTERS_FILE", "UPLOAD_ROOT", "ATTACHMENT_ROOT", "EMAIL_URL", "TIME_ZONE", "LOG_LEVEL", "SECRET_KEY"),
}


def is_root() -> bool:
    return os.geteuid() == 0


def become_root(reason: str) -> None:
    """Starts this very command again through sudo, unless we are root already."""
    if is_root():
        return
    sudo = shutil.which("sudo")
    if sudo is None:
        raise Stop(f"{reason} needs root. Run it as root, or install sudo.")
    kept = [name for name in os.environ if name in KEPT or name.startswith(KEPT_PREFIXES)]
    print(f"{reason} needs root: asking sudo.", file=sys.stderr)
    os.execv(sudo, [sudo, f"--preserve-env={','.join(kept)}", sys.executable, *sys.argv])


def as_root(command: list[str]) -> list[str]:
    """`command` as root would run it."""
    if is_root():
        return command
    sudo = shutil.which("sudo")
    if sudo is None:
        raise Stop(f"This needs root, and there is no sudo here. Run as root: {' '.join(command)}")
    return [sudo, *command]


def owner() -> pwd.struct_passwd | None:
    """The person to whom the checkout belongs, when we are root and they are not."""
    uid = CHECKOUT.stat().st_uid
    if not is_root() or uid == 0:
        return None
    try:
        return pwd.getpwuid(uid)
    except KeyError:  # a checkout mounted from another machine
        return None


def as_owner(env: dict[str, str]) -> dict[str, Any]:
    """The arguments for subprocess that run a program as the checkout's owner, in `env`."""
    person = owner()
    if person is None:
        return {"env": env}
    home = {"HOME": person.pw_dir, "USER": person.pw_name, "LOGNAME": person.pw_name}
    groups = os.getgrouplist(person.pw_name, person.pw_gid)
    return {"env": env | home, "user": person.pw_uid, "group": person.pw_gid, "extra_groups": groups}


def as_user(name: str, env: dict[str, str]) -> dict[str, Any]:
    """The arguments for subprocess that run a program as a system user."""
    return {"env": env, "user": name, "group": name, "extra_groups": []}


def give_to_owner(path: Path) -> None:
    """What root made in the checkout is the owner's."""
    person = owner()
    if person is not None:
        os.chown(path, person.pw_uid, person.pw_gid)
