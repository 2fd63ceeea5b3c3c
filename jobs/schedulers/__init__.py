"""What every scheduler's dialect can say: for each verb a pair, build the call and read the answer. Text only."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from accounting.runs import Run
from jobs.spec import JobSpec, QueueEntry, Submission


@dataclass(frozen=True)
class Call:
    """One verb of the gateway's closed list, with its arguments."""

    verb: str
    args: tuple[str, ...] = ()
    token: str = ""  # the job's folder, for verbs that need one


@dataclass(frozen=True)
class Answer:
    """What one call left behind. `exit_code` is None when the deadline ended it: nobody knows what it did."""

    exit_code: int | None
    stdout: str
    stderr: str
    truncated: bool = False  # the output cap cut it: never read as whole


class AnswerError(Exception):
    """A call failed or its answer can't be read. Says nothing about any job. `transient`: worth another try later."""

    def __init__(self, message: str, *, transient: bool) -> None:
        super().__init__(message)
        self.transient = transient


@dataclass(frozen=True)
class Records:
    """What an accounting pull brought: the runs, and every record that could not be read, with the reason."""

    runs: tuple[Run, ...]
    rejected: tuple[tuple[str, str], ...]


class Scheduler(Protocol):
    """Pure pairs; running the call is the transport's work."""

    def submit(self, spec: JobSpec) -> Call: ...
    def read_submission(self, token: str, answer: Answer) -> Submission: ...

    def estimate(self, spec: JobSpec) -> Call: ...
    def read_estimate(self, answer: Answer) -> datetime | None: ...

    def queue(self) -> Call: ...
    def read_queue(self, answer: Answer) -> tuple[QueueEntry, ...]: ...

    def find_in_queue(self, tokens: Sequence[str]) -> Call: ...
    def find_in_accounting(self, tokens: Sequence[str], since: datetime) -> Call: ...
    def read_found(self, answer: Answer) -> Mapping[str, str]: ...

    def cancel(self, token: str, scheduler_id: str) -> Call: ...
    def read_cancel(self, answer: Answer) -> None: ...

    def records(self, since: datetime, until: datetime, delimiter: str) -> Call: ...
    def read_records(self, answer: Answer, delimiter: str) -> Records: ...

    def associate(self, chain: Iterable[tuple[str, str, str]], user: str, account: str) -> tuple[Call, ...]: ...
    def read_associated(self, answers: Sequence[Answer]) -> None: ...
