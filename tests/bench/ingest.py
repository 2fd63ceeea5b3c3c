"""How fast history comes in: records per second of import_sacct, and how much faster an unchanged file is read again.

    ./dev bench ingest [RECORDS]

On a database of its own: SQLite in a temporary folder, emptied before. Records are mixed: plain, requeued, cancelled
before their start, typed, failed; 500 institutions' accounts over two years.
"""

from __future__ import annotations

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

import django
from django.core.management import call_command

DEFAULT = 50_000
ACCOUNTS = 500
BEGIN = datetime(2024, 1, 1)  # noqa: DTZ001
HEADER = "Cluster|DBIndex|JobIDRaw|JobID|Account|User|Partition|Submit|Start|End|State|AllocTRES"


def records(count: int) -> Iterator[str]:
    dice = random.Random(7)  # noqa: S311
    yield HEADER
    for number in range(1, count + 1):
        account = f"inst{dice.randrange(ACCOUNTS)}"
        start = BEGIN + timedelta(seconds=dice.randrange(2 * 365 * 86_400))
        end = start + timedelta(seconds=dice.randrange(1, 30 * 3600))
        state = dice.choices(("COMPLETED", "FAILED", "REQUEUED", "CANCELLED by 7"), (80, 10, 5, 5))[0]
        gpus = dice.choice((1, 2, 4, 8))
        tres = f"cpu=8,gres/gpu={gpus},gres/gpu:a100={gpus},node=1"
        when = f"{start.isoformat()}|{start.isoformat()}|{end.isoformat()}"
        if state.startswith("CANCELLED") and dice.random() < 0.5:
            when, tres = f"{start.isoformat()}|Unknown|{end.isoformat()}", ""
        user = f"u{dice.randrange(20)}"
        yield f"bench|{number}|{number}|{number}|{account}|{user}|gpu|{when}|{state}|{tres}"


def seconds_to_import(file: Path) -> float:
    began = time.perf_counter()
    call_command("import_sacct", str(file), cluster="bench", stdout=StringIO())
    return time.perf_counter() - began


def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DATABASE_URL"] = f"sqlite:///{folder}/bench.sqlite3"
        os.environ["DJANGO_SETTINGS_MODULE"] = "portal.settings"
        django.setup()
        call_command("migrate", verbosity=0)
        file = Path(folder) / "records.txt"
        file.write_text("\n".join(records(count)) + "\n")
        first, again = seconds_to_import(file), seconds_to_import(file)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"first import   {count:>10,} records {first:8.1f} s {count / first:10,.0f} records/s")
    print(f"all unchanged  {count:>10,} records {again:8.1f} s {count / again:10,.0f} records/s")
    print(
        f"ratio          {first / again:.1f} times as fast when nothing changed; peak memory {peak:,.0f} MiB"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT)
