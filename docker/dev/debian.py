"""Are the distribution's packages there? Installs what is missing, and starts none of its services."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dev import places, rights, say
from dev.say import Stop

POLICY = Path("/usr/sbin/policy-rc.d")
KEPT_POLICY = Path("/usr/sbin/policy-rc.d.before-firefly")
NO_SERVICE = (
    "#!/bin/sh\n# Put here by ./dev of the Firefly portal while it installs: start no service.\nexit 101\n"
)
NO_DATABASE = Path("/etc/postgresql-common/createcluster.d/firefly.conf")


def missing(packages: list[str]) -> list[str]:
    """Which of `packages` are not installed."""
    asked = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Abbrev}\n", *packages],
        capture_output=True,
        text=True,
        check=False,  # it fails as soon as one is unknown; what it knows is printed all the same
    )
    there = {words[0] for words in map(str.split, asked.stdout.splitlines()) if words[1:] == ["ii"]}
    return [package for package in packages if package not in there]


def install(packages: list[str]) -> None:
    """Installs those of `packages` that are missing."""
    wanted = missing(packages)
    if not wanted:
        return
    if shutil.which("apt-get") is None:
        raise Stop(
            f"./dev installs packages on Debian and Ubuntu only. Install these yourself: {' '.join(wanted)}"
        )
    with say.step("Asking the distribution for its list of packages") as under_way:
        _apt(under_way, ["update"], None)
    total = _count(wanted)
    with say.step(f"Installing {total} Debian packages") as under_way, _no_service_starts():
        _apt(under_way, ["install", *wanted], total)
    _stay_off(wanted)


def _apt(under_way: say.Step, words: list[str], total: int | None) -> None:
    command = [
        *("apt-get", "-y", "--no-install-recommends", "-o", "Dpkg::Options::=--force-confold"),
        *("-o", "Dpkg::Use-Pty=0", "-o", "DPkg::Lock::Timeout=300", "-o", "APT::Color=0"),
    ]
    quiet = ["env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8"]
    log = places.folder(places.LOGS) / f"apt-{words[0]}.log"
    progress = (lambda text: _how_far(text, total)) if total else None
    say.run_logged(under_way, rights.as_root([*quiet, *command, *words]), log, progress)


def _count(packages: list[str]) -> int:
    """How many packages will be installed, with all that they need."""
    planned = subprocess.run(
        ["apt-get", "install", "--simulate", "--no-install-recommends", *packages],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"LC_ALL": "C.UTF-8"},
    )
    if planned.returncode != 0:
        raise Stop(
            f"The distribution can't install {' '.join(packages)}:\n{planned.stderr or planned.stdout}"
        )
    return len(re.findall(r"^Inst ", planned.stdout, re.MULTILINE))


def _how_far(text: str, total: int) -> str:
    """A package is unpacked first and set up later: each is half of the work."""
    steps = re.findall(r"^(?:Unpacking|Setting up) ", text, re.MULTILINE)
    if steps:
        return f"{min(len(steps) // 2, total)} of {total} installed"
    fetched = len(re.findall(r"^Get:", text, re.MULTILINE))
    return f"{min(fetched, total)} of {total} fetched"


@contextmanager
def _no_service_starts() -> Iterator[None]:
    """Debian's packages start their services when installed, unless policy-rc.d says no.

    PostgreSQL's also makes a database of its own, unless told not to.
    """
    if POLICY.exists() and POLICY.read_text() != NO_SERVICE:  # ours is there when a run was killed
        _as_root("mv", str(POLICY), str(KEPT_POLICY))
    _write(POLICY, NO_SERVICE, "755")
    _write(NO_DATABASE, "create_main_cluster = false\n", "644")
    try:
        yield
    finally:
        _as_root("rm", "-f", str(POLICY), str(NO_DATABASE))
        if KEPT_POLICY.exists():
            _as_root("mv", str(KEPT_POLICY), str(POLICY))


def _write(path: Path, text: str, mode: str) -> None:
    _as_root("install", "-D", "-m", mode, "/dev/stdin", str(path), text=text)


def _as_root(*command: str, text: str = "") -> None:
    subprocess.run(rights.as_root(list(command)), input=text, text=True, check=True)


def _stay_off(packages: list[str]) -> None:
    """What was just installed does not start at the next boot either; what was there before is not touched."""
    if shutil.which("systemctl") is None:
        return
    for package in packages:
        files = subprocess.run(["dpkg", "-L", package], capture_output=True, text=True, check=True).stdout
        units = re.findall(
            r"^(?:/usr)?/lib/systemd/system/([^/@]+\.(?:service|socket|timer))$", files, re.MULTILINE
        )
        if units:
            off = ["systemctl", "--quiet", "--no-reload", "disable", *units]
            subprocess.run(rights.as_root(off), check=False, stderr=subprocess.DEVNULL)
