"""What does an accounting record say? Tables as sacct writes them, read row by row; rules R1, R2, R8, R10.

Two shapes exist. In *lines* a newline ends the record and JobName, if it is the last column, may hold the
delimiter. In *parsable* tables the delimiter ends each field, the record's last one too, so a newline inside
a name does no harm. What can't be read is given back as Rejected with the reason; the rest goes on.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from hashlib import blake2b
from itertools import product
from operator import itemgetter
from typing import BinaryIO, TextIO
from zoneinfo import ZoneInfo

from accounting.runs import Run
from jobs.schedulers import Rejected

# Asked of sacct, and what a row is read for; no field here is written by a user.
ASKED = (
    *("Cluster", "DBIndex", "JobIDRaw", "JobID", "Account", "User", "Partition", "QOS", "Submit", "Start"),
    *("End", "ElapsedRaw", "Suspended", "State", "ExitCode", "TimelimitRaw", "AllocTRES"),
)
NEEDED = ("JobIDRaw", "Account", "Start", "End", "State", "AllocTRES")

CHUNK = 1 << 16
LONGEST_RECORD = 1 << 20
UTC_ZONES = (UTC, ZoneInfo("UTC"))
NOWHEN = frozenset({"", "Unknown", "None", "N/A"})
LONGEST_NUMBER = 18  # digits
LONGEST_COUNT = 7  # of devices; what is more is no machine, and no integer of a database
LONGEST_MINUTES = 9
LONGEST_WORDS = {"JobID": 80, "ExitCode": 20}  # characters, as UsageRecord keeps them
LONGEST_WORD = 100
LONGEST_STATE = 30
WHEN = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", re.ASCII)
SPAN = re.compile(r"(?:(?:(\d+)-)?(\d+):)?(\d\d):(\d\d)(?:\.\d+)?", re.ASCII)
STATE = re.compile(r"([A-Z_]+)\+?(?: by .+)?")
END_OF_LINE = ("\n", "\r\n")


class TableError(ValueError):
    """The table as a whole can't be read; the sentence says what its first line lacks."""


class RowError(ValueError):
    """This record can't be read."""


@dataclass(frozen=True)
class Table:
    """The records of a table as lists of fields, and who can read them."""

    records: Iterator[list[str] | Rejected]
    reader: RowReader


def open_table(
    source: BinaryIO | str, *, delimiter: str | None = None, zone: tzinfo = UTC, cluster: str = ""
) -> Table:
    """A table whose first line names the columns, in any order.

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
        return Table(
            without_line_ends(parsable_records(_chunks(stream), mark, len(columns)), columns), reader
        )
    return Table(line_records(stream, mark, columns, ended=ended), reader)


def read_table(
    source: BinaryIO | str, *, delimiter: str | None = None, zone: tzinfo = UTC, cluster: str = ""
) -> Iterator[Run | Rejected]:
    """Runs and rejected records of `open_table`."""
    table = open_table(source, delimiter=delimiter, zone=zone, cluster=cluster)
    return table.reader.read(table.records)


def read_answer(text: str, delimiter: str) -> Iterator[Run | Rejected]:
    """What our own call brought: the columns ASKED, no header, UTC."""
    records = plain_records(text, delimiter, len(ASKED)) or parsable_records([text], delimiter, len(ASKED))
    return RowReader(ASKED, UTC, "").read(without_line_ends(records, ASKED))


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


def plain_records(text: str, delimiter: str, columns: int) -> list[list[str]]:
    """All records, many times as fast, of an answer where each begins a line of its own and has all its fields; else none.

    A field that begins with a line's end would leave a record with too few: such an answer is for `parsable_records`.
    """
    *whole, rest = text.split(f"{delimiter}\n")
    records = [record.split(delimiter) for record in whole]
    is_plain = not rest and all(len(record) == columns and "\n" not in record[0] for record in records)
    return records if is_plain else []


def without_line_ends(
    records: Iterable[list[str] | Rejected], columns: Sequence[str]
) -> Iterator[list[str] | Rejected]:
    """Only a JobName may hold one: elsewhere it is the seam of a forged record."""
    checked = [place for place, name in enumerate(columns) if name.casefold() != "jobname"]
    for record in records:
        if isinstance(record, list) and any("\n" in record[place] for place in checked):
            yield _rejected("|".join(record), "has a line's end inside a field")
        else:
            yield record


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


class RowReader:
    """Turns fields into Runs. `zone`: of the times; `cluster`: for rows that name none.

    Years of history come through here: what repeats from row to row (names, TRES, states) is read once and remembered.
    """

    def __init__(self, columns: Sequence[str], zone: tzinfo, cluster: str) -> None:
        self.zone = zone
        self._in_utc = zone in UTC_ZONES
        self.cluster = cluster
        places = {name.casefold(): place for place, name in enumerate(columns)}
        # A column that is not there reads an empty field put behind each record.
        self._pick = itemgetter(*(places.get(name.casefold(), len(columns)) for name in ASKED))
        context = "\x1f".join((*columns, str(zone), cluster, "\x1e"))
        self._marking = blake2b(context.encode(), digest_size=16)

    def read(self, records: Iterable[list[str] | Rejected]) -> Iterator[Run | Rejected]:
        for record in records:
            if isinstance(record, Rejected):
                yield record
                continue
            item = self.item(record)
            if item is not None:
                yield item

    def item(self, record: list[str], source: bytes = b"") -> Run | Rejected | None:
        """The record's Run; None for a step (R1). `source`: its mark, where one is kept."""
        try:
            return self._run(source, *self._pick([*record, ""]))
        except RowError as error:
            return _rejected("|".join(record), str(error))

    def mark(self, record: list[str]) -> bytes:
        """16 bytes that are the same only for the same text, read in the same way."""
        marking = self._marking.copy()
        marking.update("\x1f".join(record).encode("utf-8", "surrogatepass"))
        return marking.digest()

    def _run(  # the mark, and the fields ASKED: by place, as in a Run, for names take three times as long
        self,
        source: bytes,
        cluster: str,
        db_index: str,
        job_id_raw: str,
        job_id: str,
        account: str,
        user: str,
        partition: str,
        qos: str,
        submit: str,
        start: str,
        end: str,
        elapsed: str,
        suspended: str,
        state: str,
        exit_code: str,
        time_limit: str,
        tres: str,
    ) -> Run | None:
        if "." in job_id or "." in job_id_raw:
            return None
        started, ended = self._interval(start, end, elapsed, suspended)
        gpus, by_type, shards = devices(tres)
        db_index = _number(db_index or "0", "DBIndex").lstrip("0")
        submitted = self._moment(submit, "Submit")
        if not db_index and submitted is None:
            raise RowError("has neither DBIndex nor Submit: it can't be told from another")
        raw = _number(job_id_raw, "JobIDRaw")
        return Run(
            _word(cluster, "Cluster") or self.cluster,
            db_index,
            raw,
            raw if job_id == raw else _checked_word(job_id, "JobID") or raw,
            _word(account, "Account"),
            _word(user, "User"),
            _word(partition, "Partition"),
            _word(qos, "QOS"),
            submitted,
            started,
            ended,
            one_word(state),
            gpus,
            by_type,
            shards,
            _word(exit_code, "ExitCode"),
            int(time_limit) if _is_number(time_limit, LONGEST_MINUTES) else None,
            source,
        )

    def _moment(self, text: str, column: str) -> datetime | None:
        if self._in_utc:
            return utc(text, column)
        readings = self._readings(text, column)
        return readings[0] if readings else None

    def _interval(
        self, start: str, end: str, elapsed: str, suspended: str
    ) -> tuple[datetime | None, datetime | None]:
        """R8: of the readings of Start and End, the pair that lasts ElapsedRaw + Suspended."""
        if self._in_utc:
            return utc(start, "Start"), utc(end, "End")
        starts, ends = self._readings(start, "Start"), self._readings(end, "End")
        if (len(starts) < 2 and len(ends) < 2) or not starts or not ends:
            # Plain, or still open, or never begun: nothing depends on the choice.
            return (starts[0] if starts else None), (ends[0] if ends else None)
        lasted = _lasted(elapsed, suspended)
        for started, ended in product(starts, ends):
            if ended - started == lasted:
                return started, ended
        raise RowError(
            "Start or End falls into the hour that the zone has twice, and ElapsedRaw fits no reading"
        )

    def _readings(self, text: str, column: str) -> tuple[datetime, ...]:
        """A wall time in UTC: no reading if unknown, two in the hour that a zone has twice."""
        wall = utc(text, column)
        if wall is None:
            return ()
        try:
            both = [wall.replace(tzinfo=self.zone, fold=fold).astimezone(UTC) for fold in (0, 1)]
        except (ValueError, OverflowError):
            raise _no_time(text, column) from None
        return tuple(dict.fromkeys(both))


def utc(text: str, column: str) -> datetime | None:
    """A time written in UTC; None if unknown."""
    if not WHEN.fullmatch(text):
        if text.strip() in NOWHEN:
            return None
        raise _no_time(text, column)
    try:
        return datetime.fromisoformat(text + "+00:00")
    except ValueError:
        raise _no_time(text, column) from None


def _no_time(text: str, column: str) -> RowError:
    return RowError(f"{column} is no time: {text[:40]!r}")


@lru_cache(maxsize=1 << 14)
def devices(tres: str) -> tuple[int, tuple[tuple[str, int], ...], int]:
    """R2 and R11: how many GPUs, the typed ones among them, and how many shards, of an AllocTRES."""
    total: int | None = None
    shards = 0
    typed: dict[str, int] = {}
    for part in filter(None, tres.strip().split(",")):
        name, equals, value = part.partition("=")
        if not equals:
            raise RowError(f"AllocTRES can't be read: {tres[:80]!r}")
        if name == "gres/gpu" and total is None:
            total = int(_number(value, "gres/gpu", LONGEST_COUNT))
        elif name.startswith("gres/gpu:") and name not in typed:
            typed[name] = int(_number(value, name, LONGEST_COUNT))
        elif name == "gres/gpu" or name in typed:
            raise RowError(f"AllocTRES names {name} twice")
        elif name == "gres/shard":
            shards = int(_number(value, name, LONGEST_COUNT))
    by_type = tuple(sorted((name.removeprefix("gres/gpu:"), count) for name, count in typed.items()))
    return (sum(typed.values()) if total is None else total), by_type, shards


@lru_cache(maxsize=1 << 10)
def one_word(text: str) -> str:
    """Of a State: "CANCELLED by 1001" is CANCELLED."""
    match = STATE.fullmatch(text.strip())
    if not match or len(match[1]) > LONGEST_STATE:
        raise RowError(f"State is no state: {text[:40]!r}")
    return match[1]


def _lasted(elapsed: str, suspended: str) -> timedelta | None:
    elapsed = elapsed.strip()
    span = SPAN.fullmatch(suspended.strip() or "00:00:00")
    if not _is_number(elapsed) or not span:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in span.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds + int(elapsed))


def _number(text: str, column: str, longest: int = LONGEST_NUMBER) -> str:
    text = text.strip()
    if not _is_number(text, longest):
        raise RowError(f"{column} can't be read: {text[:40]!r}")
    return text


def _is_number(text: str, longest: int = LONGEST_NUMBER) -> bool:
    return text.isdecimal() and text.isascii() and len(text) <= longest


def _checked_word(text: str, column: str) -> str:
    text = text.strip()
    if len(text) > LONGEST_WORDS.get(column, LONGEST_WORD) or not text.isprintable() or "\ufffd" in text:
        raise RowError(f"{column} holds what no name holds: {text[:40]!r}")
    return text


_word = lru_cache(maxsize=1 << 16)(_checked_word)
