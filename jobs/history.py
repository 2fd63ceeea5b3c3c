"""A site's years of records: a process of its own reads the file, a batch at a time, while this one writes what it read.

The other one knows no Django and no database. It reads the file as its standard input, one batch ahead and never more,
for the pipe between them holds no other; it ends with the pipe, whatever ends this one.
"""

from __future__ import annotations

import gc
import json
import os
import pickle
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any, BinaryIO
from zoneinfo import ZoneInfo

from accounting.runs import Run
from jobs.schedulers import Rejected
from jobs.schedulers.sacct import RowReader, Table, TableError, open_table

BATCH = 8000  # records
PIPE_SIZE = 1 << 20  # bytes, about a batch's
ROOT = Path(__file__).parents[1]
MOMENTS = [Run._fields.index(name) for name in ("submit", "start", "end")]
READING = "from jobs import history; history.read()"


class Unreadable(Exception):
    """The file can't be read, or not to its end; the message says why."""


@dataclass(frozen=True)
class Batch:
    """A stretch of the file. Steps are left out."""

    runs: list[Run]
    rejected: list[Rejected]
    until: int  # how many bytes of the file were read; 0 if it has no length, as a pipe

    @property
    def count(self) -> int:
        return len(self.runs) + len(self.rejected)

    def __reduce__(self) -> tuple[object, ...]:
        """By columns, and with moments as numbers, it passes the pipe in half the time."""
        columns = [*zip(*self.runs, strict=True)]
        for place in MOMENTS if columns else ():
            columns[place] = tuple(moment and moment.timestamp() for moment in columns[place])
        return _of_columns, (columns, self.rejected, self.until)


def _of_columns(columns: list[tuple[Any, ...]], rejected: list[Rejected], until: int) -> Batch:
    for place in MOMENTS if columns else ():
        columns[place] = tuple(
            None if seconds is None else datetime.fromtimestamp(seconds, UTC) for seconds in columns[place]
        )
    return Batch([*map(Run._make, zip(*columns, strict=True))], rejected, until)


def batches(source: BinaryIO, *, delimiter: str | None, zone: ZoneInfo, cluster: str) -> Iterator[Batch]:
    """The file's records in its order; the arguments are `open_table`'s. Raises Unreadable."""
    options = json.dumps([delimiter, zone.key, cluster, BATCH])
    command = [sys.executable, "-c", READING, options]
    with (
        _few_collections(),
        Popen(command, stdin=source, stdout=PIPE, pipesize=PIPE_SIZE, cwd=ROOT) as reading,
    ):
        try:
            while (answer := _answer(reading)) is not None:
                yield answer
        finally:
            reading.kill()  # it has nothing to lose, and may wait for more of the file for ever


def _answer(reading: Popen[bytes]) -> Batch | None:
    """The next one; None after the last."""
    assert reading.stdout  # noqa: S101  # a pipe
    try:
        answer: Batch | str | None = pickle.load(reading.stdout)  # noqa: S301  # from our own code
    except (EOFError, pickle.UnpicklingError):
        raise Unreadable(
            f"the process that read it ended too early (status {reading.wait()}). What was read is recorded: "
            "start again to go on."
        ) from None
    if isinstance(answer, str):
        raise Unreadable(answer)
    return answer


@contextmanager
def _few_collections() -> Iterator[None]:
    """A batch's records live and die together, and hold no cycles: looking for some among them took a third of the time."""
    before = gc.get_threshold()
    gc.set_threshold(20 * BATCH, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


# ── The process that reads ────────────────────────────────────────────────────────────────────────────


def read() -> None:
    """What it runs: Batches to standard output, then None; or in words why it can't go on."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one that writes
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # nobody is there any more: the end, without a word
    delimiter, zone, cluster, size = json.loads(sys.argv[1])
    try:
        with _few_collections(), open(0, "rb", closefd=False) as source:
            table = open_table(source, delimiter=delimiter, zone=ZoneInfo(zone), cluster=cluster)
            for batch in _stretches(table, size):
                _say(batch)
        _say(None)
    except TableError as error:
        _say(str(error))
    except OSError as error:
        _say(f"{error.strerror}.")


def _say(answer: Batch | str | None) -> None:
    pickle.dump(answer, sys.stdout.buffer, pickle.HIGHEST_PROTOCOL)
    sys.stdout.buffer.flush()


def _stretches(table: Table, size: int) -> Iterator[Batch]:
    records = iter(table.records)
    while stretch := list(islice(records, size)):
        yield _batch(table.reader, stretch)


def _batch(reader: RowReader, stretch: list[list[str] | Rejected]) -> Batch:
    batch, read, mark = Batch([], [], _position()), reader.item, reader.mark
    for record in stretch:
        item = record if isinstance(record, Rejected) else read(record, mark(record))
        if isinstance(item, Run):
            batch.runs.append(item)
        elif item is not None:
            batch.rejected.append(item)
    return batch


def _position() -> int:
    with suppress(OSError):
        return os.lseek(0, 0, os.SEEK_CUR)
    return 0
