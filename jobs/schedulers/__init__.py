"""What every scheduler's dialect can say: for each verb a pair, build the call and read the answer. Text only."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, Protocol

from accounting.books import Books
from accounting.runs import Run
from jobs.spec import ClusterError, FencesSeen, JobSeen, JobSpec, QueueEntry, SmallFile, Submission


@dataclass(frozen=True)
class Call:
    """One verb of the gateway's closed list, with its arguments."""

    verb: str
    args: tuple[str, ...] = ()
    token: str = ""  # the job's folder, for verbs that need one
    files: tuple[SmallFile, ...] = ()  # to be put there before


@dataclass(frozen=True)
class Answer:
    """What one call left behind. `exit_code` is None when the deadline ended it: nobody knows what it did."""

    exit_code: int | None
    stdout: str
    stderr: str
    truncated: bool = False  # the output cap cut it: never read as whole


class AnswerError(ClusterError):
    """A call failed or its answer can't be read."""

    def __init__(self, message: str, *, transient: bool) -> None:
        super().__init__(message)
        self.transient = transient


class TooMuch(AnswerError):
    """The answer is longer than the gateway's cap, or than the asker's: the same for a shorter time may be whole."""


class Check(StrEnum):
    """What must be so before a cluster's accounting is believed."""

    DATABASE = "database"
    GPUS = "gpus"
    RIGHTS = "rights"
    FIELDS = "fields"
    ZONE = "zone"
    DELIMITER = "delimiter"


class Finding(NamedTuple):
    """How one of them stands: `seen` is what the scheduler said, for the person who mends it."""

    check: Check
    ok: bool
    seen: str


class Rejected(NamedTuple):
    """A record that could not be read: never guessed, never in the way of the others."""

    record: str  # as it came, cut at 500 characters
    reason: str


@dataclass(frozen=True)
class Records:
    """What an accounting pull brought: the runs, and every record that could not be read."""

    runs: tuple[Run, ...]
    rejected: tuple[Rejected, ...]


class Scheduler(Protocol):
    """Pure pairs; running the call is the transport's work.

    `delimiter` is a fresh random word for each call (see `new_delimiter`): what it parts can't be forged by
    a job's name. Every `read_…` raises AnswerError when the call failed, was cut, or can't be understood:
    that says nothing about any job.
    """

    def submit(self, spec: JobSpec) -> Call: ...
    def read_submission(self, token: str, answer: Answer) -> Submission: ...

    def estimate(self, spec: JobSpec) -> Call: ...
    def read_estimate(self, answer: Answer) -> datetime | None: ...

    def queue(self, delimiter: str) -> Call: ...
    def read_queue(self, answer: Answer, delimiter: str) -> tuple[QueueEntry, ...]: ...

    def find_in_queue(self, tokens: Sequence[str], delimiter: str) -> Call: ...
    def find_in_accounting(self, tokens: Sequence[str], since: datetime, delimiter: str) -> Call: ...
    def read_found(self, answer: Answer, delimiter: str) -> Mapping[str, str]: ...

    def named(self, job_ids: Sequence[str], delimiter: str) -> Call: ...  # raw ids; in the accounting
    def read_named(self, answer: Answer, delimiter: str, since: datetime) -> tuple[JobSeen, ...]: ...

    def capacity(self) -> Call: ...
    def read_capacity(self, answer: Answer) -> int | None: ...

    def cancel(self, token: str, scheduler_id: str) -> Call: ...
    def read_cancel(self, answer: Answer) -> None: ...

    def end(self, user: str, account: str, scheduler_id: str) -> Call: ...  # another's job, as the admin

    def records(self, since: datetime, until: datetime, delimiter: str) -> Call: ...
    def read_records(self, answer: Answer, delimiter: str) -> Records: ...

    def probe(self, now: datetime, delimiter: str) -> tuple[Call, ...]: ...
    def read_probe(self, answers: Sequence[Answer], now: datetime, delimiter: str) -> tuple[Finding, ...]: ...
    def books(self, begin: datetime, end: datetime) -> tuple[Call, ...]: ...  # both whole hours
    def read_books(self, answers: Sequence[Answer], until: datetime) -> Books: ...

    def is_rolled_up(self, begin: datetime, end: datetime) -> Call: ...
    def read_is_rolled_up(self, answer: Answer) -> bool: ...

    def associations(self, accounts: Sequence[str]) -> Call: ...
    def read_missing(self, accounts: Sequence[str], user: str, answer: Answer) -> tuple[Call, ...]: ...

    def dissociate(self, account: str, user: str) -> tuple[Call, ...]: ...
    def read_dissociated(self, account: str, user: str, answers: Sequence[Answer]) -> None: ...

    def set_budget(self, name: str, gpu_minutes: int) -> Call: ...
    def allow_budgets(self, cluster: str, account: str, names: Sequence[str]) -> Call: ...  # default first
    def read_change(self, answer: Answer) -> str: ...

    def fences(self, cluster: str, accounts: Sequence[str]) -> list[Call]: ...
    def read_fences(self, answers: Sequence[Answer], at: datetime) -> FencesSeen: ...


def new_delimiter() -> str:
    """A word that nobody could have written into a job's name before it was drawn."""
    return f"@{secrets.token_hex(8)}@"
