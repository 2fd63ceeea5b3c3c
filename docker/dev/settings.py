"""What the portal's settings read from the environment: made once, kept in a file that only its owner reads.

A variable that is already in the caller's environment wins.
"""

import os
import secrets
from pathlib import Path

from dev import places, rights


def demo() -> dict[str, str]:
    """The environment of every program of the demo, and of `./dev manage`."""
    kept = _read(_file(places.DEMO))
    if "SECRET_KEY" not in kept:
        kept = remember(places.DEMO, SECRET_KEY=secrets.token_urlsafe(50))
    return _defaults(places.DEMO) | kept | dict(os.environ)


def remember(instance: Path, **settings: str) -> dict[str, str]:
    """Writes these settings beside those that the instance has, and gives all of them."""
    places.folder(instance)
    kept = _read(_file(instance)) | settings
    text = "".join(f"{name}={value}\n" for name, value in sorted(kept.items()))
    file = _file(instance)
    opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(opened, "w") as out:
        out.write(text)
    rights.give_to_owner(file)
    return kept


def _defaults(instance: Path) -> dict[str, str]:
    return {
        "DATABASE_URL": f"sqlite:///{instance}/db.sqlite3",
        "CLUSTERS_FILE": str(instance / "clusters.toml"),
        "UPLOAD_ROOT": str(instance / "uploads"),
        "ATTACHMENT_ROOT": str(instance / "attachments"),
        "STATIC_ROOT": str(places.STATE / "static"),
        "NODE_MODULES": str(places.NODE / "node_modules"),
        "EMAIL_URL": "console:",
        "MFA_REQUIRED_ROLES": "",  # whoever looks around in the demo has no second factor at hand
        "PYTHONUNBUFFERED": "1",
        "MALLOC_ARENA_MAX": "2",  # as in docker/Dockerfile
    }


def _file(instance: Path) -> Path:
    return instance / "env"


def _read(file: Path) -> dict[str, str]:
    if not file.exists():
        return {}
    pairs = (line.partition("=") for line in file.read_text().splitlines())
    return {name: value for name, _, value in pairs if name}
