"""What does an accounting record say? Tables as sacct writes them, read row by row; rules R1, R2, R8, R10.

Two shapes exist. In *lines* a newline ends the record and JobName, if it is the last column, may hold the
delimiter. In *parsable* tables the delimiter ends each field, the record's last one too, so a newline inside
a name does no harm. What can't be read is given back as Rejected with the reason; the rest goes on.
"""

import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import product
from typing import BinaryIO, TextIO

from accounting.runs import Run
from jobs.schedulers import Rejected

# Asked of sacct; no field here is written by a user.
ASKED = (
    *("Cluster", "DBIndex", "JobIDRaw", "JobID", "Account", "User", "Partition", "QOS", "Submit", "Start"),
    *("End", "ElapsedRaw", "Suspended", "State", "ExitCode", "TimelimitRaw", "AllocTRES"),
)
NEEDED = ("JobIDRaw", "Account", "Start", "End", "State", "AllocTRES")

CHUNK = 1 << 16
LONGEST_RECORD = 1 << 20
NOWHEN = frozenset({"", "Unknown", "None", "N/A"})
NUMBER = re.compile(r"[0-9]{1,18}")
WHEN = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", re.ASCII)
SPAN = re.compile(r"(?:(?:(\d+)-)?(\d+):)?(\d\d):(\d\d)(?:\.\d+)?", re.ASCII)
STATE = re.compile(r"([A-Z_]+)\+?(?: by .+)?")
END_OF_LINE = ("\n", "\r\n")


class TableError(ValueError):
    """The table as a whole can't be read; the sentence says what its first line lacks."""


class RowError(ValueError):
    """This record can't be read."""


def read_table(
    source: BinaryIO | str, *, delimiter: str | None = None, zone: tzinfo = UTC, cluster: str = ""
) -> Iterator[Run | Rejected]:
    """Runs and rejected records of a table whose first line names the columns, in any order.

    `delimiter`: the file's own, as `sacct --parsable --delimiter=…` writes it; None: lines parted by |.
    `zone`: in which the times are written. `cluster`: for records that name none. Steps are left out.
    Reads as it goes, so a file may be of any size. Raises TableError before the first record or not at all.
    """
    stream = _text(source)
    mark = delimiter or "|"
    header = stream.readline(LONGEST_RECORD).removeprefix("\ufeff").rstrip("\r\n")
    ended = header.endswith(mark)
    columns = _columns(header.removesuffix(mark).split(mark))
    reader = RowReader(columns, zone, cluster)
    if delimiter is not None and ended:
        return reader.read(parsable_records(_chunks(stream), mark, len(columns)))
    return reader.read(line_records(stream, mark, columns, ended=ended))


def read_answer(text: str, delimiter: str) -> Iterator[Run | Rejected]:
    """What our own call brought: the columns ASKED, no header, UTC."""
    return RowReader(ASKED, UTC, "").read(parsable_records([text], delimiter, len(ASKED)))


def _text(source: BinaryIO | str) -> TextIO:
    if isinstance(source, str):
        return io.StringIO(source, newline="\n")
    # Only a line feed ends a line: a carriage return inside a name must not.
    return io.TextIOWrapper(source, encoding="utf-8", errors="replace", newline="\n")


def _chunks(stream: TextIO) -> Iterator[str]:
    while chunk := stream.read(CHUNK):
        yield chunk


def _columns(names: Sequence[str]) -> tuple[str, ...]:
    columns = tuple(name.strip() for name in names)
    known = {name.casefold() for name in columns}
    if len(known) < len(columns):
        raise TableError("The first line names a column twice.")
    missing = [name for name in NEEDED if name.casefold() not in known]
    if not known & {"dbindex", "submit"}:
        missing.append("DBIndex or Submit")
    if missing:
        raise TableError(
            f"The first line must name the columns and lacks {', '.join(missing)}. "
            f"Was the table written with this delimiter?"
        )
    return columns


# ── Records: a list of fields, or a Rejected ──────────────────────────────────────────────────────────


def line_records(
    lines: Iterable[str], delimiter: str, columns: Sequence[str], *, ended: bool
) -> Iterator[list[str] | Rejected]:
    """`ended`: each line also ends with the delimiter."""
    name_last = columns[-1].casefold() == "jobname"
    for line in lines:
        record = line.rstrip("\r\n")
        if not record:
            continue
        body = record.removesuffix(delimiter) if ended else record
        fields = body.split(delimiter, len(columns) - 1 if name_last else -1)
        if len(fields) == len(columns):
            yield fields
        else:
            yield _rejected(record, f"has {len(fields)} fields instead of {len(columns)}")


def parsable_records(chunks: Iterable[str], delimiter: str, columns: int) -> Iterator[list[str] | Rejected]:
    """Count fields, not lines: a line's end counts only after as many fields as there are columns."""
    waiting: list[str] = []
    for field in _fields(chunks, delimiter):
        if len(waiting) >= columns and field.startswith(END_OF_LINE):
            yield from _record(waiting, delimiter, columns)
            waiting = []
        waiting.append(field if waiting else field.lstrip("\r\n"))
    rest = waiting.pop()  # what follows the last delimiter
    if waiting and rest:
        yield _rejected(delimiter.join((*waiting, rest)), "is cut off")
    elif waiting:
        yield from _record(waiting, delimiter, columns)
    elif rest:
        yield _rejected(rest, "is cut off")


def _fields(chunks: Iterable[str], delimiter: str) -> Iterator[str]:
    rest = ""
    for chunk in chunks:
        *fields, rest = (rest + chunk).split(delimiter)
        yield from fields
    yield rest.rstrip("\r\n") or "\n"


def _record(fields: list[str], delimiter: str, columns: int) -> Iterator[list[str] | Rejected]:
    """A whole record; before it there may be the rest of one that was cut."""
    first = len(fields) - columns
    if first == 0 and "\n" not in fields[0]:
        yield fields
    elif first >= 0 and "\n" in fields[first]:
        cut, _, begin = fields[first].rpartition("\n")
        yield _rejected(delimiter.join((*fields[:first], cut)), "is cut off")
        yield [begin, *fields[first + 1 :]]
    else:
        yield _rejected(delimiter.join(fields), f"has {len(fields)} fields instead of {columns}")


def _rejected(record: str, reason: str) -> Rejected:
    return Rejected(record[:500], reason)


# ── Rows ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class RowReader:
    """Turns fields into Runs. `zone`: of the times; `cluster`: for rows that name none."""

    columns: Sequence[str]
    zone: tzinfo
    cluster: str

    def read(self, records: Iterable[list[str] | Rejected]) -> Iterator[Run | Rejected]:
        names = [column.casefold() for column in self.columns]
        for record in records:
            if isinstance(record, Rejected):
                yield record
                continue
            row = dict(zip(names, record, strict=True))
            if "." in row.get("jobid", "") or "." in row["jobidraw"]:
                continue  # R1: a step
            try:
                if any("\n" in value for name, value in row.items() if name != "jobname"):
                    raise RowError("has a line's end inside a field")
                yield self.run(row)
            except RowError as error:
                yield _rejected("|".join(record), str(error))

    def run(self, row: Mapping[str, str]) -> Run:
        start, end = self.interval(row)
        gpus, by_type = devices(row["alloctres"])
        db_index = _pattern(row.get("dbindex", "") or "0", NUMBER, "DBIndex")
        submit = self.moment(row.get("submit", ""), "Submit")
        if db_index.strip("0") == "" and submit is None:
            raise RowError("has neither DBIndex nor Submit: it can't be told from another")
        return Run(
            cluster=_word(row, "Cluster") or self.cluster,
            db_index="" if db_index.strip("0") == "" else db_index,
            job_id_raw=_pattern(row["jobidraw"], NUMBER, "JobIDRaw"),
            job_id=_word(row, "JobID") or row["jobidraw"],
            account=_word(row, "Account"),
            user=_word(row, "User"),
            partition=_word(row, "Partition"),
            qos=_word(row, "QOS"),
            submit=submit,
            start=start,
            end=end,
            state=state(row["state"]),
            gpus=gpus,
            gpus_by_type=by_type,
            exit_code=_word(row, "ExitCode"),
            time_limit_minutes=_minutes(row.get("timelimitraw", "")),
        )

    def moment(self, text: str, column: str) -> datetime | None:
        return next(iter(self.readings(text, column)), None)

    def readings(self, text: str, column: str) -> tuple[datetime, ...]:
        """A wall time in UTC: no reading if unknown, two in the hour that a zone has twice."""
        if text.strip() in NOWHEN:
            return ()
        if not WHEN.fullmatch(text):
            raise RowError(f"{column} is no time: {text[:40]!r}")
        try:
            wall = datetime.fromisoformat(text)
            both = [wall.replace(tzinfo=self.zone, fold=fold).astimezone(UTC) for fold in (0, 1)]
        except (ValueError, OverflowError):
            raise RowError(f"{column} is no time: {text[:40]!r}") from None
        return tuple(dict.fromkeys(both))

    def interval(self, row: Mapping[str, str]) -> tuple[datetime | None, datetime | None]:
        """R8: of the readings of Start and End, the pair that lasts ElapsedRaw + Suspended."""
        starts, ends = self.readings(row["start"], "Start"), self.readings(row["end"], "End")
        if len(starts) < 2 and len(ends) < 2:
            return (starts or (None,))[0], (ends or (None,))[0]
        if not starts or not ends:
            return (starts or (None,))[0], (ends or (None,))[
                0
            ]  # still open, or never begun: nothing depends on it
        lasted = _lasted(row)
        for start, end in product(starts, ends):
            if end - start == lasted:
                return start, end
        raise RowError(
            "Start or End falls into the hour that the zone has twice, and ElapsedRaw fits no reading"
        )


def devices(tres: str) -> tuple[int, tuple[tuple[str, int], ...]]:
    """R2: how many GPUs, and the typed ones among them, of an AllocTRES."""
    total: int | None = None
    typed: dict[str, int] = {}
    for part in filter(None, tres.strip().split(",")):
        name, equals, value = part.partition("=")
        if not equals:
            raise RowError(f"AllocTRES can't be read: {tres[:80]!r}")
        if name == "gres/gpu" and total is None:
            total = int(_pattern(value, NUMBER, "gres/gpu"))
        elif name.startswith("gres/gpu:") and name not in typed:
            typed[name] = int(_pattern(value, NUMBER, name))
        elif name == "gres/gpu" or name in typed:
            raise RowError(f"AllocTRES names {name} twice")
    by_type = tuple(sorted((name.removeprefix("gres/gpu:"), count) for name, count in typed.items()))
    return (sum(typed.values()) if total is None else total), by_type


def state(text: str) -> str:
    """One word: "CANCELLED by 1001" is CANCELLED."""
    match = STATE.fullmatch(text.strip())
    if not match:
        raise RowError(f"State is no state: {text[:40]!r}")
    return match[1]


def _lasted(row: Mapping[str, str]) -> timedelta | None:
    elapsed = row.get("elapsedraw", "").strip()
    span = SPAN.fullmatch(row.get("suspended", "").strip() or "00:00:00")
    if not NUMBER.fullmatch(elapsed) or not span:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in span.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds + int(elapsed))


def _pattern(text: str, pattern: re.Pattern[str], column: str) -> str:
    if not pattern.fullmatch(text.strip()):
        raise RowError(f"{column} can't be read: {text[:40]!r}")
    return text.strip()


def _word(row: Mapping[str, str], column: str) -> str:
    text = row.get(column.casefold(), "").strip()
    if len(text) > 255 or not text.isprintable() or "\ufffd" in text:
        raise RowError(f"{column} holds what no name holds: {text[:40]!r}")
    return text


def _minutes(text: str) -> int | None:
    return int(text) if NUMBER.fullmatch(text) else None  # else UNLIMITED, Partition_Limit
