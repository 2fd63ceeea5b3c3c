"""How fast history comes in: records per second of import_sacct, beside a bare COPY of the same file.

    ./dev bench ingest [RECORDS] [--sqlite]

Beside the clock's time it says for how long each side kept a core busy, per record, whatever else the machine had to do:
the process that reads, the one that writes, and PostgreSQL's for its connection.

Records are mixed: plain, requeued, cancelled before their start, suspended, typed, MIG slices, shards, arrays,
heterogeneous; the accounts of 500 institutions over two years, in the order of their ends, as sacct writes them. Most
jobs are short, some last for days. The accounts belong to projects; the cluster is retired, so nothing is charged.
"""

from __future__ import annotations

import math
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import NamedTuple, TextIO

import django
from django.core.management import call_command
from django.db import connection

DEFAULT = 1_000_000
INSTITUTIONS = 500
BEGIN = datetime(2024, 1, 1)  # noqa: DTZ001
SPAN = 2 * 365 * 86_400
HEADER = (
    "Cluster|DBIndex|JobIDRaw|JobID|Account|User|Partition|QOS|Submit|Start|End|ElapsedRaw|Suspended|State"
    "|AllocTRES|JobName"
)
STATES = {
    "COMPLETED": 70,
    "FAILED": 9,
    "TIMEOUT": 5,
    "CANCELLED by 1007": 8,
    "REQUEUED": 4,
    "NODE_FAIL": 1,
    "OUT_OF_MEMORY": 3,
}
SHAPES = {
    "gres/gpu={n},gres/gpu:a100={n}": 70,
    "gres/gpu={n}": 20,
    "gres/gpu:a100_1g.5gb={n}": 6,
    "gres/shard={n}": 4,
}


def records(count: int) -> Iterator[str]:
    dice = random.Random(7)  # noqa: S311
    states, shapes = (list(STATES), list(STATES.values())), (list(SHAPES), list(SHAPES.values()))
    yield HEADER
    for number in range(1, count + 1):
        institution = min(int(dice.paretovariate(1.1)), INSTITUTIONS * 20) % INSTITUTIONS
        end = BEGIN + timedelta(seconds=SPAN * number // count)
        length = min(int(math.exp(dice.gauss(7.8, 1.6))), 3 * 86_400)
        start = end - timedelta(seconds=length)
        submit = start - timedelta(seconds=dice.randrange(1, 7200))
        state = dice.choices(*states)[0]
        gpus = dice.choice((1, 1, 1, 2, 4, 8, 8, 16))
        tres = (
            f"billing={gpus},cpu={8 * gpus},{dice.choices(*shapes)[0].format(n=gpus)},mem={64 * gpus}G,node=1"
        )
        suspended = dice.randrange(length + 1) if dice.random() < 0.02 else 0
        if state.startswith("CANCELLED") and dice.random() < 0.3:
            start_text, tres = "Unknown", ""
        else:
            start_text = start.isoformat()
        job_id = f"{number - number % 8}_{number % 8}" if dice.random() < 0.3 else str(number)
        gaps = f"{suspended // 3600:02}:{suspended // 60 % 60:02}:{suspended % 60:02}"
        yield (
            f"bench|{number}|{number}|{job_id}|inst{institution}|u{institution}x{dice.randrange(6)}|gpu|normal"
            f"|{submit.isoformat()}|{start_text}|{end.isoformat()}|{length - suspended}|{gaps}|{state}|{tres}|train"
        )


def institutions() -> None:
    from portal.models import Institution, Lab, Project

    for number in range(INSTITUTIONS):
        name = f"inst{number}"
        institution = Institution.objects.create(name=name, slug=name, account=f"{name}-all")
        lab = Lab.objects.create(institution=institution, name=name, slug=name, account=f"{name}-lab")
        Project.objects.create(lab=lab, slug=name, title=name, account=name)


class Busy(NamedTuple):
    """Seconds of a core."""

    reading: float
    writing: float
    database: float

    @classmethod
    def so_far(cls) -> Busy:
        reading, writing = (
            resource.getrusage(who) for who in (resource.RUSAGE_CHILDREN, resource.RUSAGE_SELF)
        )
        return cls(reading.ru_utime + reading.ru_stime, writing.ru_utime + writing.ru_stime, of_database())


def of_database() -> float:
    """Of the process of PostgreSQL that serves us. SQLite works in our own."""
    if connection.vendor != "postgresql":
        return 0
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        stat = Path(f"/proc/{cursor.fetchone()[0]}/stat").read_text()
    user, system = stat.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def measured_import(what: str, file: Path, count: int) -> float:
    """How many seconds it took."""
    began, before = time.perf_counter(), Busy.so_far()
    call_command("import_sacct", str(file), cluster="bench", stdout=StringIO())
    seconds, after = time.perf_counter() - began, Busy.so_far()
    tell(what, count, seconds)
    sides = (
        f"{name} {(late - early) / count * 1e6:.1f}"
        for name, early, late in zip(Busy._fields, before, after, strict=True)
    )
    print(f"{'':<14} microseconds of a core per record: {', '.join(sides)}")
    return seconds


def seconds_to_copy(file: Path) -> float | None:
    """PostgreSQL's own COPY of the same file, split into columns, into a table without keys."""
    if connection.vendor != "postgresql":
        return None
    columns = ", ".join(f'"{name.lower()}" text' for name in HEADER.split("|"))
    began = time.perf_counter()
    with connection.cursor() as cursor, file.open() as lines:
        cursor.execute(f"CREATE TABLE bare ({columns})")
        copy_lines(cursor, lines)
    return time.perf_counter() - began


def copy_lines(cursor: object, lines: TextIO) -> None:
    with cursor.copy("COPY bare FROM STDIN (FORMAT csv, DELIMITER '|', HEADER)") as copy:  # type: ignore[attr-defined]
        while piece := lines.read(1 << 20):
            copy.write(piece)


def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        if not os.environ.get("DATABASE_URL", "").startswith("postgres"):  # never the demo's
            os.environ["DATABASE_URL"] = f"sqlite:///{folder}/bench.sqlite3"
        os.environ["DJANGO_SETTINGS_MODULE"] = "portal.settings"
        django.setup()
        call_command("migrate", verbosity=0)
        institutions()
        file = Path(folder) / "records.txt"
        with file.open("w") as lines:
            lines.writelines(f"{line}\n" for line in records(count))
        first, again = (measured_import(what, file, count) for what in ("first import", "all unchanged"))
        peaks = [
            resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        ]
        bare = seconds_to_copy(file)
    print(f"unchanged / first: {first / again:.1f} times as fast")
    print(f"peak memory, of both processes together: {sum(peaks) / 1024:,.0f} MiB")
    if bare:
        tell("bare COPY", count, bare)
        print(f"first import / bare COPY: {first / bare:.1f} times as long")


def tell(what: str, count: int, seconds: float) -> None:
    print(f"{what:<14} {count:>10,} records {seconds:8.1f} s {count / seconds:10,.0f} records/s")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT)
