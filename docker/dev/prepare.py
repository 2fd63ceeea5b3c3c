"""What the web server needs on disk: static files collected, translations compiled. Done again only when they change."""

import hashlib
from pathlib import Path

from dev import manage, node, places, rights, running, say

STAMP = places.STATE / "static.stamp"


def translations(env: dict[str, str]) -> None:
    stale = [
        po for po in places.ROOT.glob("*/locale/*/LC_MESSAGES/*.po") if _is_newer(po, po.with_suffix(".mo"))
    ]
    if stale:
        _manage("Compiling translations", env, "compilemessages", "--ignore", ".state")


def static_files(env: dict[str, str]) -> None:
    with running.in_turn("static"):  # the demo and the tests of a checkout share them
        fingerprint = _fingerprint()
        if STAMP.exists() and STAMP.read_text() == fingerprint:
            return
        _manage("Collecting static files", env, "collectstatic", "--no-input", "--clear")
        STAMP.write_text(fingerprint)
        rights.give_to_owner(STAMP)


def _manage(what: str, env: dict[str, str], *words: str) -> None:
    with say.step(what) as under_way:
        log = places.folder(places.LOGS) / f"{words[0]}.log"
        say.run_logged(under_way, manage.command(*words), log, cwd=places.ROOT, **rights.as_owner(env))


def _is_newer(source: Path, made: Path) -> bool:
    return not made.exists() or source.stat().st_mtime > made.stat().st_mtime


def _fingerprint() -> str:
    sources = [path for path in places.ROOT.glob("*/static/**/*") if path.is_file()]
    about = [f"{path} {path.stat().st_mtime_ns} {path.stat().st_size}" for path in sorted(sources)]
    settings = (places.ROOT / "portal" / "settings.py").read_text()
    return hashlib.sha256("\n".join([*about, settings, node.LOCK.read_text()]).encode()).hexdigest() + "\n"
