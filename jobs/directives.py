"""What an uploaded script says to a scheduler in its comments (#SBATCH, #PBS): read to prefill the form, then inert.

Pure. Only a handful of options is taken; every other line is listed with the reason, so that nobody wonders later.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from jobs.spec import MOST_TASKS
from portal.words import grouped

READ_BYTES = 64 << 10  # of the script
MAX_LISTED = 100
SHOWN = 120  # characters of a line
DIRECTIVE = re.compile(r"#(SBATCH|PBS)\b(.*)")
GRES = re.compile(r"(?:gres[/:])?gpu(?::[A-Za-z][\w.-]*)?(?::(\d{1,6}))?", re.ASCII)
GPUS = re.compile(r"(?:[A-Za-z][\w.-]*:)?(\d{1,6})", re.ASCII)
PBS_GPUS = re.compile(r"(?:(?:select|nodes)=(\d{1,4}))?.*?\b(?:ngpus|gpus)=(\d{1,4})\b", re.ASCII)
ARRAY = re.compile(r"([01])-(\d{1,9})(?:%(\d{1,9}))?", re.ASCII)
CLOCK = re.compile(r"(?:(\d{1,4})-)?(\d{1,9})(?::(\d{1,4}))?(?::(\d{1,4}))?", re.ASCII)

SHORT = {
    "-J": "--job-name",
    "-p": "--partition",
    "-t": "--time",
    "-G": "--gpus",
    "-N": "--nodes",
    "-a": "--array",
}
PBS_SHORT = {"-N": "--job-name", "-q": "--partition", "-l": "--pbs-resources"}
OURS = {
    **dict.fromkeys(("--account", "-A"), _("The hours come from the project that you choose here.")),
    **dict.fromkeys(
        ("--output", "--error", "--chdir", "-o", "-e", "-D"),
        _("The portal keeps the log and the files of each job together."),
    ),
    **dict.fromkeys(("--mem", "--mem-per-cpu", "--mem-per-gpu"), _("Memory comes with each GPU.")),
    **dict.fromkeys(("--cpus-per-task", "--cpus-per-gpu", "-c"), _("CPU cores come with each GPU.")),
    **dict.fromkeys(
        ("--ntasks", "--ntasks-per-node", "--ntasks-per-gpu", "-n"),
        _("The script runs once; start your tasks in it with srun."),
    ),
    "--qos": _("The budget of your project decides, and the portal names it."),
    "--exclusive": _("Ask for all GPUs of a node instead."),
    **dict.fromkeys(("--mail-type", "--mail-user"), _("The portal shows the job's state on its page.")),
}
ANY = re.compile(r".*", re.DOTALL)
TAKEN = {
    "--job-name": ANY,
    "--partition": ANY,
    "--time": CLOCK,
    "--pbs-resources": ANY,
    "--nodes": re.compile(r"[1-9]\d{0,5}", re.ASCII),
    "--gpus": GPUS,
    "--gpus-per-node": GPUS,
    "--gres": GRES,
    "--array": ARRAY,
}
HETJOB = _("Jobs of several unlike parts are not supported: the script runs once, as one job.")
NOT_USED = _("The portal sets this by itself, or does not use it.")
NO_RANGE = _(
    "Of a job array, only a plain range from 0 or 1 is taken, such as 0-9 or 0-9%3. Say here how many tasks there are."
)
UNREADABLE = _("The value can't be read, so it was not taken.")
TOO_LATE = _("It stands after the first command, where Slurm does not read it either.")


@dataclass(frozen=True)
class Ignored:
    """A line that was not taken."""

    number: int
    text: str
    why: str | Promise


@dataclass(frozen=True)
class Directives:
    """What was understood: None where the script says nothing of it."""

    gpus: int | None = None
    time_limit_minutes: int | None = None
    name: str | None = None
    partition: str | None = None
    tasks: int | None = None
    at_once: int | None = None
    counts_from_1: bool = False  # in the script; here tasks are counted from 0
    ignored: tuple[Ignored, ...] = ()


@dataclass
class _Reading:
    """What the lines so far said."""

    values: dict[str, str] = field(default_factory=dict)
    ignored: list[Ignored] = field(default_factory=list)


def read(script: str) -> Directives:
    """Read the directives of a script, of which the first READ_BYTES are enough."""
    reading = _Reading()
    commands_began = False
    for number, line in enumerate(script.splitlines(), start=1):
        found = DIRECTIVE.match(line)
        if found is None:
            commands_began = commands_began or bool(line.strip() and not line.lstrip().startswith("#"))
        elif commands_began:
            reading.ignored.append(Ignored(number, _shown(line), TOO_LATE))
        else:
            why = _take(reading, found[1], found[2])
            if why:
                reading.ignored.append(Ignored(number, _shown(line), why))
    return Directives(
        gpus=_gpus(reading),
        time_limit_minutes=minutes(reading.values.get("--time", "")),
        name=reading.values.get("--job-name"),
        partition=reading.values.get("--partition"),
        **_array(reading),
        ignored=tuple(reading.ignored[:MAX_LISTED]),
    )


def minutes(clock: str) -> int | None:
    """Slurm's ways to write a time limit, rounded up to minutes: M, M:S, H:M:S, D-H, D-H:M, D-H:M:S."""
    match = CLOCK.fullmatch(clock)
    if match is None:
        return None
    days, *rest = match.groups()
    numbers = [int(part) for part in rest if part is not None]
    if days is not None:
        hours, mins, seconds = (*numbers, 0, 0)[:3]
    elif len(numbers) == 3:
        hours, mins, seconds = numbers
    else:
        hours, (mins, seconds) = 0, (*numbers, 0)[:2]
    total = (int(days or 0) * 24 + hours) * 3600 + mins * 60 + seconds
    return -(-total // 60) or None


def too_many_tasks() -> str:
    return gettext("One job may have %(most)s tasks at most. Submit the others as a second one.") % {
        "most": grouped(MOST_TASKS)
    }


def _take(reading: _Reading, kind: str, text: str) -> str | Promise | None:
    """Keep what the line says, or say why not."""
    try:
        words = shlex.split(text, comments=True)
    except ValueError:
        return UNREADABLE
    if words[:1] == ["hetjob"] or words[:1] == ["packjob"]:
        return HETJOB
    reasons = [_take_option(reading, name, value) for name, value in _options(kind, words)]
    return next((why for why in reasons if why), None)


def _options(kind: str, words: list[str]) -> Iterator[tuple[str, str]]:
    """(--long-name, value) of each option; a word that belongs to none stands with itself as the name."""
    short = SHORT if kind == "SBATCH" else PBS_SHORT
    words = words[::-1]
    while words:
        word = words.pop()
        name, equals, value = word.partition("=")
        if not word.startswith("--"):
            name, value = word[:2], word[2:]
        follows = bool(words) and not words[-1].startswith("-")
        if not equals and not value and follows and word.startswith("-"):
            value = words.pop()
        yield short.get(name, name), value


def _take_option(reading: _Reading, name: str, value: str) -> str | Promise | None:
    if name not in TAKEN:
        return OURS.get(name, NOT_USED)
    if name == "--array" and (why := _not_taken(value)):
        return why
    if not _readable(name, value):
        return UNREADABLE
    reading.values |= _pbs(value) if name == "--pbs-resources" else {name: value}
    return None


def _readable(name: str, value: str) -> bool:
    if name in ("--job-name", "--partition"):
        return bool(value) and value.isprintable()
    if name == "--time":
        return minutes(value) is not None
    if name == "--pbs-resources":
        return bool(_pbs(value))
    return TAKEN[name].fullmatch(value) is not None


def _pbs(value: str) -> dict[str, str]:
    """The resources of `-l`: select=2:ngpus=4,walltime=01:00:00."""
    found: dict[str, str] = {}
    walltime = re.search(r"\bwalltime=([\d:]+)", value, re.ASCII)
    if walltime and minutes(walltime[1]):
        found["--time"] = walltime[1]
    gpus = PBS_GPUS.search(value)
    if gpus:
        found["--gpus"] = str(int(gpus[1] or 1) * int(gpus[2]))
    return found


def _gpus(reading: _Reading) -> int | None:
    """GPUs of the whole job: --gpus is for the job, --gres and --gpus-per-node are for each node."""
    values = reading.values
    whole = GPUS.fullmatch(values.get("--gpus", ""))
    if whole:
        return int(whole[1]) or None
    nodes = int(values.get("--nodes", "1"))
    on_node = GPUS.fullmatch(values.get("--gpus-per-node", ""))
    if on_node:
        return int(on_node[1]) * nodes or None
    gres = GRES.fullmatch(values.get("--gres", ""))
    if gres:
        return int(gres[1] or 1) * nodes or None
    return None


def _not_taken(array: str) -> str | Promise | None:
    match = ARRAY.fullmatch(array)
    if match is None or int(match[2]) < int(match[1]) or match[3] == "0":
        return NO_RANGE
    return too_many_tasks() if int(match[2]) - int(match[1]) >= MOST_TASKS else None


def _array(reading: _Reading) -> dict[str, Any]:
    match = ARRAY.fullmatch(reading.values.get("--array", ""))
    if match is None:
        return {}
    first, last, at_once = match.groups()
    return {
        "tasks": int(last) - int(first) + 1,
        "at_once": min(int(at_once), MOST_TASKS) if at_once else None,
        "counts_from_1": first == "1",
    }


def _shown(line: str) -> str:
    visible = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line.strip())
    return visible if len(visible) <= SHOWN else f"{visible[: SHOWN - 1]}…"
