"""Are the locked Python packages there, in .state/venv?"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from dev import debian, places, rights, say
from dev.say import Stop

LOCKS = [places.ROOT / "requirements" / "run.txt", places.ROOT / "requirements" / "dev.txt"]
STAMP = places.VENV / "installed"
OLDEST = (3, 11)
# What WeasyPrint draws award letters with; the fonts have letters for every language that the portal speaks.
LIBRARIES = [
    *("libpango-1.0-0", "libpangoft2-1.0-0", "libharfbuzz-subset0"),
    *("fonts-dejavu-core", "fonts-droid-fallback"),
]


def ready() -> bool:
    return STAMP.exists() and STAMP.read_text() == _fingerprint() and Path(places.program("python")).exists()


def packages() -> set[str]:
    """The names of the locked packages."""
    return set(re.findall(r"^([a-zA-Z0-9_.-]+)==", "".join(lock.read_text() for lock in LOCKS), re.MULTILINE))


def debian_packages() -> list[str]:
    """What the distribution must give before the packages can be installed and used."""
    if ready():
        return LIBRARIES
    python = find()
    if python is None:
        return ["python3.11", "python3.11-venv", *LIBRARIES]
    return [f"{Path(python).name}-venv", *LIBRARIES]


def find() -> str | None:
    """The distribution's newest Python that the portal runs on: /usr/bin/python3.X."""
    found = [(int(path.name.split(".")[1]), path) for path in Path("/usr/bin").glob("python3.[0-9][0-9]")]
    new_enough = [(minor, path) for minor, path in found if (3, minor) >= OLDEST]
    return str(max(new_enough)[1]) if new_enough else None


def install() -> None:
    """Makes .state/venv and installs exactly what the lock files name, each file checked by its hash."""
    debian.install(debian_packages())
    if ready():
        return
    python = find()
    if python is None:
        here = ".".join(map(str, sys.version_info[:2]))
        raise Stop(
            f"The portal needs Python 3.11 or newer; here is {here}. Install python3.11 and python3.11-venv."
        )
    as_owner = rights.as_owner(_environment())
    with say.step(f"Installing {len(packages())} Python packages into .state/venv") as under_way:
        log = places.folder(places.LOGS) / "pip.log"
        if not _usable():
            shutil.rmtree(places.VENV, ignore_errors=True)
            say.run_logged(under_way, [python, "-m", "venv", str(places.VENV)], log, **as_owner)
        wanted = [word for lock in LOCKS for word in ("-r", str(lock))]
        pip = [places.program("python"), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
        say.run_logged(under_way, [*pip, "--require-hashes", *wanted], log, _how_far, **as_owner)
    STAMP.write_text(_fingerprint())
    rights.give_to_owner(STAMP)


def _usable() -> bool:
    """The folder has a Python that starts (the system's may have been upgraded beneath it)."""
    try:
        return (
            subprocess.run(
                [places.program("python"), "-m", "pip", "--version"], capture_output=True
            ).returncode
            == 0
        )
    except OSError:
        return False


def _fingerprint() -> str:
    locks = b"".join(lock.read_bytes() for lock in LOCKS)
    return f"{hashlib.sha256(locks).hexdigest()} {find()}\n"


def _environment() -> dict[str, str]:
    return os.environ | {"PIP_PROGRESS_BAR": "off"}


def _how_far(text: str) -> str:
    total = len(packages())
    if "Installing collected packages" in text:
        done = sum(1 for _ in places.VENV.glob("lib/python3*/site-packages/*.dist-info"))
        return f"{min(done, total)} of {total} unpacked"
    done = len(set(re.findall(r"^Collecting ([a-zA-Z0-9_.-]+)", text, re.MULTILINE)))
    return f"{min(done, total)} of {total} fetched"
