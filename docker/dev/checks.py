"""`./dev check`: everything that can be said about the code without running it."""

import os
import re
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from dev import debian, manage, node, places, python, rights, say, settings, translations

SHOWN = 100  # lines of what a failed check printed
HOST = re.compile(r"https?://", re.IGNORECASE)


@dataclass(frozen=True)
class Check:
    what: str
    command: list[str]


@dataclass(frozen=True)
class Verdict:
    what: str
    fine: bool
    output: str
    seconds: float


def check() -> int:
    """Runs all checks, and says of each whether it is well. 0 only if all are."""
    debian.install(["gettext"])
    python.install()
    node.install()
    say.heading("Checks")
    failed = [verdict.what for verdict in _verdicts() if not _tell(verdict)]
    if failed:
        print(f"\n{len(failed)} of the checks failed: {', '.join(failed)}.")
        return 1
    print("\nAll checks are well.")
    return 0


def _checks() -> list[Check]:
    tool = places.program
    scripts = [str(path) for path in _files("*.sh")] + [".ci/run"]
    return [
        Check("types", [tool("mypy")]),
        Check("format", [tool("ruff"), "format", "--check", ".", "dev"]),
        Check("lint", [tool("ruff"), "check", ".", "dev"]),
        Check("import arrows", [tool("lint-imports")]),
        Check("settings", manage.command("check", "--fail-level", "WARNING")),
        Check("migrations", manage.command("makemigrations", "--check", "--dry-run")),
        Check("lint of templates", [tool("djlint"), "--lint", "templates"]),
        Check("shell scripts", [tool("shellcheck"), *scripts]),
    ]


def _verdicts() -> Iterator[Verdict]:
    env = settings.demo() | {"DEVELOPING": "1"}
    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(_run, one, env) for one in _checks()]
        yield _no_host_in_lock_files()
        yield _translations(env)
        for one in running:
            yield one.result()


def _run(one: Check, env: dict[str, str]) -> Verdict:
    started = time.monotonic()
    done = subprocess.run(
        one.command,
        cwd=places.ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **rights.as_owner(env),
    )
    return Verdict(one.what, done.returncode == 0, done.stdout, time.monotonic() - started)


def _no_host_in_lock_files() -> Verdict:
    """A lock file says what to install; from where is the machine's own business."""
    named = [
        f"{lock.relative_to(places.ROOT)}:{number}: {text.strip()}"
        for lock in (*python.LOCKS, node.LOCK)
        for number, text in enumerate(lock.read_text().splitlines(), start=1)
        if HOST.search(text)
    ]
    return Verdict("no host in lock files", not named, "\n".join(named), 0.0)


def _translations(env: dict[str, str]) -> Verdict:
    started = time.monotonic()
    found = translations.problems(_files(*translations.SOURCES), env)
    return Verdict("translations", not found, "\n".join(found), time.monotonic() - started)


def _files(*patterns: str) -> list[str]:
    """The files of the checkout that match, tracked or new."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns],
        cwd=places.ROOT,
        capture_output=True,
        text=True,
        check=True,
        **rights.as_owner(dict(os.environ)),
    )
    return [name for name in listed.stdout.splitlines() if (places.ROOT / name).exists()]


def _tell(verdict: Verdict) -> bool:
    mark = "✓" if verdict.fine else "✗"
    print(f"  {mark} {verdict.what} ({say.duration(verdict.seconds)})", flush=True)
    if not verdict.fine:
        lines = verdict.output.splitlines()
        print("\n".join(f"      {text}" for text in lines[:SHOWN]), flush=True)
        if len(lines) > SHOWN:
            print(f"      … and {len(lines) - SHOWN} lines more", flush=True)
    return verdict.fine
