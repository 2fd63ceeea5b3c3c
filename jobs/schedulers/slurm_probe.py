"""Can this Slurm's accounting be relied on? What is asked of it before any of its records, and how that is read.

Each trap here looks like "nobody used anything": GPUs that no record names, records of others that are hidden, a field
that fails the whole call, times of another zone. Pure text; proven on 22.05.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from jobs.schedulers import Answer, AnswerError, Call, Check, Finding
from jobs.schedulers.sacct import ASKED

SECONDS = "%Y-%m-%dT%H:%M:%S"
DATABASE = "accounting_storage/slurmdbd"
GPUS = "gres/gpu"
SEEING_ALL = frozenset({"Operator", "Administrator"})
HIDING = frozenset({"jobs", "usage", "users", "all"})  # of PrivateData: records of others are not shown
LEAST_ACCOUNTS = 2  # visible to who sees more than its own
OFF_BY = timedelta(minutes=5)  # a zone is off by more, a clock by less

SETTING = re.compile(r"^(\w+)\s+= ?(.*)$", re.MULTILINE)
WRITTEN = re.compile(r"Configuration data as of (\S+)")
NAMES = re.compile(r"[A-Za-z]+")


def calls(now: datetime, delimiter: str) -> tuple[Call, ...]:
    """The last one asks for a minute of records with their heading, just as records are asked for later."""
    period = f"--starttime={now - timedelta(minutes=1):{SECONDS}}", f"--endtime={now:{SECONDS}}"
    table = (
        *("--allocations", "--duplicates", "--noconvert", "--parsable"),
        f"--delimiter={delimiter}",
        f"--format={','.join(ASKED)}",
    )
    return (
        Call("scontrol-config"),
        Call("sacct-fields"),
        Call("sacctmgr-sight"),
        Call("sacct", (*table, *period)),
    )


def read(answers: Sequence[Answer], now: datetime, delimiter: str) -> tuple[Finding, ...]:
    """One finding for each Check that could be made. `now`: the cluster's time of its answers, in UTC.

    Raises AnswerError where the scheduler did not say: nobody knows then.
    """
    config, fields, sight, table = answers
    settings = dict(SETTING.findall(_said("scontrol", config)))
    known = {name.casefold() for name in NAMES.findall(_said("sacct --helpformat", fields))}
    missing = [name for name in ASKED if name.casefold() not in known]
    found = [
        _database(settings.get("AccountingStorageType", "")),
        _tracked(settings.get("AccountingStorageTRES", "")),
        _rights(_said("sacctmgr", sight)),
        Finding(Check.FIELDS, not missing, ", ".join(missing)),
        _zone(config.stdout, now),
    ]
    # One unknown field fails the whole call: then nothing is known of the delimiter.
    return (*found, _delimiter(_said("sacct", table), delimiter)) if not missing else tuple(found)


def _said(program: str, answer: Answer) -> str:
    if answer.exit_code != 0 or answer.truncated or not answer.stdout:
        raise AnswerError(f"{program} gave no good answer: {answer.stderr.strip()[:200]}", transient=True)
    return answer.stdout


def _database(kind: str) -> Finding:
    return Finding(Check.DATABASE, kind == DATABASE, kind)


def _tracked(tres: str) -> Finding:
    return Finding(Check.GPUS, GPUS in tres.split(","), tres)


def _rights(text: str) -> Finding:
    """Lines of the gateway: `level|…`, `private|…`, and `accounts|` with how many there are to be seen."""
    told = dict(line.partition("|")[::2] for line in text.splitlines())
    level, private = told.get("level", ""), told.get("private", "")
    accounts = int(told["accounts"]) if told.get("accounts", "").isdecimal() else 0
    open_to_all = not HIDING & {*private.split(",")} and accounts >= LEAST_ACCOUNTS
    return Finding(
        Check.RIGHTS,
        level in SEEING_ALL or open_to_all,
        f"AdminLevel={level or 'None'}, PrivateData={private or 'none'}, {accounts} accounts",
    )


def _zone(config: str, now: datetime) -> Finding:
    written = WRITTEN.search(config)
    try:
        shown = datetime.strptime(written[1] if written else "", SECONDS).replace(tzinfo=UTC)
    except ValueError:
        return Finding(Check.ZONE, False, written[1] if written else "")
    return Finding(Check.ZONE, abs(shown - now) <= OFF_BY, f"{shown:{SECONDS}}, UTC {now:{SECONDS}}")


def _delimiter(table: str, delimiter: str) -> Finding:
    heading = table.partition("\n")[0]
    return Finding(Check.DELIMITER, heading == "".join(f"{name}{delimiter}" for name in ASKED), heading[:100])
