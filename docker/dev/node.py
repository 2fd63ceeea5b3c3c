"""Are the locked front-end packages there, in .state/node?"""

import hashlib
import json
import os
import shutil

from dev import places, rights, say

LOCK = places.ROOT / "package-lock.json"
MANIFEST = places.ROOT / "package.json"
STAMP = places.NODE / "installed"


def ready() -> bool:
    return STAMP.exists() and STAMP.read_text() == _fingerprint()


def packages() -> list[str]:
    """Where the locked packages go: node_modules/NAME."""
    return [path for path in json.loads(LOCK.read_text())["packages"] if path]


def install() -> None:
    """Installs what package-lock.json names, by the node that came with the Python packages. No script of theirs runs."""
    if ready():
        return
    folder = places.folder(places.NODE)
    for source in (MANIFEST, LOCK):
        shutil.copy(source, folder)
        rights.give_to_owner(folder / source.name)
    with say.step(f"Installing {len(packages())} front-end packages into .state/node") as under_way:
        npm = [places.program("npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        log = places.folder(places.LOGS) / "npm.log"
        say.run_logged(under_way, npm, log, _how_far, cwd=folder, **rights.as_owner(environment()))
    STAMP.write_text(_fingerprint())
    rights.give_to_owner(STAMP)


def environment() -> dict[str, str]:
    """An environment in which npm finds its node."""
    env = dict(os.environ)
    return {**env, "PATH": f"{places.VENV / 'bin'}:{env.get('PATH', '')}"}


def _fingerprint() -> str:
    return f"{hashlib.sha256(LOCK.read_bytes()).hexdigest()}\n"


def _how_far(_text: str) -> str:
    there = sum((places.NODE / path / "package.json").exists() for path in packages())
    return f"{there} of {len(packages())} there"
