"""What a person sees: one line a step, with its time; progress on what takes long.

Steps go to standard error, so that standard output carries results alone.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Stop(Exception):
    """Ends ./dev with a sentence that says what happened and what to do."""


LIVE = sys.stderr.isatty()
QUIET_SECONDS = 0.2 if LIVE else 5.0  # between two lines of progress


def line(text: str = "") -> None:
    print(text, file=sys.stderr, flush=True)


def heading(text: str) -> None:
    line(f"\n── {text} {'─' * max(2, 76 - len(text))}")


def duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"


class Step:
    """A step under way."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.result = ""  # said at its end
        self._started = self._said = time.monotonic()
        self._progress = ""

    def progress(self, text: str) -> None:
        """Says how far it is, now and then."""
        if text == self._progress or time.monotonic() - self._said < QUIET_SECONDS:
            return
        self._progress, self._said = text, time.monotonic()
        if LIVE:
            print(f"\r\033[K  … {self.what}: {text}", end="", file=sys.stderr, flush=True)
        else:
            line(f"    {self.what}: {text}")

    def end(self, mark: str) -> None:
        result = f": {self.result}" if self.result else ""
        start = "\r\033[K" if LIVE else ""
        line(f"{start}  {mark} {self.what}{result} ({duration(time.monotonic() - self._started)})")


@contextmanager
def step(what: str) -> Iterator[Step]:
    under_way = Step(what)
    if LIVE:
        print(f"  … {what}", end="", file=sys.stderr, flush=True)
    try:
        yield under_way
    except BaseException:
        under_way.end("✗")
        raise
    under_way.end("✓")


def tail(log: Path, lines: int = 25) -> str:
    """The last lines of a log, indented."""
    if not log.exists():
        return f"    ({log} is empty)"
    last = log.read_text(errors="replace").splitlines()[-lines:]
    return "\n".join(f"    {one}" for one in last)


def run_logged(
    under_way: Step,
    command: list[str],
    log: Path,
    progress: Callable[[str], str] | None = None,
    **how: Any,
) -> None:
    """Runs `command` with its output in `log`. `progress` turns what it has printed so far into how far it is."""
    with log.open("wb") as out:
        child = subprocess.Popen(
            command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, **how
        )
        try:
            _follow(under_way, child, log, progress)
        except BaseException:
            child.terminate()
            child.wait()
            raise
    if child.returncode != 0:
        raise Stop(f"{Path(command[0]).name} failed ({child.returncode}). The end of {log}:\n{tail(log)}")


def _follow(
    under_way: Step, child: subprocess.Popen[bytes], log: Path, progress: Callable[[str], str] | None
) -> None:
    while True:
        try:
            child.wait(timeout=0.3)
            return
        except subprocess.TimeoutExpired:
            if progress is not None:
                under_way.progress(progress(log.read_text(errors="replace")))
