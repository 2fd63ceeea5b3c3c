"""A Run: one record of the scheduler's accounting, and how many GPU-seconds it held. Pure; no Django.

The rules R1–R9 of docs/accounting.md live here. Unit: integer device-seconds ("GPU-seconds").
Times are aware datetimes in UTC with whole seconds.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import NamedTuple

A_DAY = timedelta(days=1)
HELD_NOW = frozenset({"RUNNING", "SUSPENDED"})


class Anomaly(StrEnum):
    """Why staff should look at a record. The first three hold no GPU-seconds."""

    RUNAWAY = "runaway"
    NO_END = "no_end"
    END_BEFORE_START = "end_before_start"
    END_AFTER_AS_OF = "end_after_as_of"


class Run(NamedTuple):
    """One allocation's record (never a step) in the scheduler's accounting. (A tuple: millions are made in an import.)"""

    cluster: str
    db_index: str  # "" where the scheduler gives none
    job_id_raw: str
    job_id: str  # as people see it: 530_1, 537+0
    account: str
    user: str
    partition: str
    qos: str
    submit: datetime | None
    start: datetime | None
    end: datetime | None
    state: str  # one word: COMPLETED, CANCELLED, NODE_FAIL …
    gpus: int  # R2: allocated devices, all types
    gpus_by_type: tuple[tuple[str, int], ...] = ()  # typed part, sorted by type
    shards: int = 0  # R11: parts of shared devices; no devices
    exit_code: str = ""
    time_limit_minutes: int | None = None
    source: bytes = b""  # a mark of the text that it was read from, where one is kept

    @property
    def identity(self) -> tuple[str, str]:
        """R6: what makes two lines the same record. End is never part of it."""
        if self.db_index not in ("", "0"):
            return (self.cluster, self.db_index)
        submitted = self.submit.strftime("%Y-%m-%dT%H:%M:%S") if self.submit else ""
        return (self.cluster, f"{self.job_id_raw}@{submitted}")


class Holding(NamedTuple):
    """For how long a run held its devices, as known at a moment: [start, end), maybe empty."""

    start: datetime | None
    end: datetime | None
    gpus: int
    provisional: bool = False
    anomaly: Anomaly | None = None

    @property
    def seconds(self) -> int:
        if self.start is None or self.end is None:
            return 0
        return int((self.end - self.start).total_seconds())

    @property
    def gpu_seconds(self) -> int:
        return self.gpus * self.seconds

    def by_day(self) -> Iterator[tuple[date, int]]:
        """R9: (UTC day, GPU-seconds) for each day with any; the parts sum to `gpu_seconds`."""
        for day, seconds in self.seconds_by_day() if self.gpus else ():
            yield day, self.gpus * seconds

    def seconds_by_day(self) -> Iterator[tuple[date, int]]:
        """R9: (UTC day, seconds held) for each day with any."""
        if self.start is None or self.end is None or self.end <= self.start:
            return
        day, last = self.start.date(), self.end.date()
        cursor = self.start
        while day < last:
            midnight = datetime.combine(day + A_DAY, time.min, tzinfo=UTC)
            yield day, int((midnight - cursor).total_seconds())
            day, cursor = day + A_DAY, midnight
        if cursor < self.end:
            yield day, int((self.end - cursor).total_seconds())


def holding(run: Run, *, as_of: datetime, in_queue: bool) -> Holding:
    """R1–R5, R7: the interval for which `run` held its devices, seen at `as_of`.

    `in_queue` says whether the scheduler's live queue lists the job now; without that an open
    record is a runaway and holds nothing.
    """
    if run.start is None:
        return Holding(None, None, run.gpus)
    if run.end is None:
        if run.state not in HELD_NOW:
            return Holding(run.start, None, run.gpus, anomaly=Anomaly.NO_END)
        if not in_queue:
            return Holding(run.start, None, run.gpus, anomaly=Anomaly.RUNAWAY)
        return Holding(run.start, max(run.start, as_of), run.gpus, provisional=True)
    if run.end < run.start:
        return Holding(run.start, None, run.gpus, anomaly=Anomaly.END_BEFORE_START)
    if run.end > as_of:
        return Holding(run.start, max(run.start, as_of), run.gpus, anomaly=Anomaly.END_AFTER_AS_OF)
    return Holding(run.start, run.end, run.gpus)
