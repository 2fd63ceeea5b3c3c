"""What travels between the portal and a cluster: frozen, and free of Django.

Times are aware datetimes in UTC; sizes are bytes; time limits are whole minutes. What a finished run
cost is told by `accounting.runs.Run`, because the meaning of a GPU-second belongs to the accounting.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import NamedTuple


class ClusterError(Exception):
    """A cluster gave no good answer. Says nothing about any job. `transient`: the same, later, may succeed."""

    transient: bool = False


MOST_TASKS = (
    1000  # of a sweep: the gateway takes no more, and no Slurm does unless its MaxArraySize was raised
)
LONGEST_REASON = 200  # characters: the scheduler may say whole sentences, and list nodes


@dataclass(frozen=True)
class SmallFile:
    """One that travels inside the call that submits its job."""

    path: str
    content: bytes = field(repr=False)
    sha256: str
    executable: bool = False


@dataclass(frozen=True)
class JobSpec:
    """One job as the scheduler shall get it. Every limit is named: nothing is left to the member's script."""

    token: str  # name of the job and of its folder: [a-z0-9]{26}
    account: str
    partition: str
    gpus: int
    gpu_type: str
    nodes: int
    cpus_per_gpu: int
    memory_per_gpu_mib: int
    time_limit_minutes: int
    script: str  # the member's file inside the job's folder, run by our constant batch script
    tasks: int = 1  # more: a sweep, the script run once for each of the numbers 0 to tasks - 1
    at_once: int | None = None  # of them, that run side by side; None: as many as there is room for
    qos: str = ""  # the budget that it is held on, where the scheduler keeps one; "": the account's default
    files: tuple[SmallFile, ...] = ()  # those that are not in its folder yet


class Verdict(Enum):
    """The three answers to "did you take it?". Only ACCEPTED has an id; UNKNOWN is looked up, never sent again blindly."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    RETRY = "retry"  # surely not taken, and not the job's fault: try later
    UNREADY = "unready"  # surely not taken, for its files could not be written


@dataclass(frozen=True)
class Submission:
    """What the scheduler said of one job that we sent."""

    token: str
    verdict: Verdict
    scheduler_id: str = ""
    message: str = ""  # the scheduler's own words, one line, cleaned and capped


class QueueEntry(NamedTuple):
    """One job (or array task, or component) that the scheduler's queue lists; also for a while after its end.

    The name is user-written: an entry is a job of ours only if its user is the job's own, too.
    A tuple, for ten thousand are made at each look, and a frozen dataclass takes ten times as long.
    """

    scheduler_id: str  # as the scheduler prints it: 530, 530_1, 537+0
    job_id_raw: str  # the number under which accounting knows it (Run.job_id_raw)
    token: str  # its job name; ours if the portal sent it
    account: str
    user: str
    partition: str
    state: str  # the scheduler's word: PENDING, RUNNING, COMPLETING …
    reason: str  # its reason code: Resources, Priority, QOSGrpGRESMinutes …
    submitted_at: datetime | None
    started_at: datetime | None  # for a pending job: the scheduler's estimate
    ended_at: datetime | None  # for a running job: start + time limit
    nodes: str = ""


@dataclass(frozen=True)
class JobSeen:
    """A job, or tasks of an array, as the accounting has it, with its name and with what was asked for it.

    The name is user-written.
    """

    scheduler_id: str  # as the scheduler prints it: 530, 534_3, 534_[4-9]
    token: str
    user: str
    account: str
    partition: str
    qos: str
    gpus: int
    time_limit_minutes: int | None
    submitted_at: datetime


@dataclass(frozen=True)
class FileEntry:
    """One file in a job's folder on the cluster."""

    path: str  # relative to the job's folder, / between parts
    size: int
    modified_at: datetime


@dataclass(frozen=True)
class Listing:
    """The files of a job's folder that may be fetched."""

    files: tuple[FileEntry, ...]
    others: int  # links, pipes and files with names that we don't carry: only counted
    truncated: bool  # there are more files than are listed


@dataclass(frozen=True)
class Tail:
    """A piece of a growing file. `size` None: the file isn't there (yet)."""

    size: int | None
    offset: int  # of the first byte of `data`
    data: bytes


@dataclass(frozen=True)
class BudgetSeen:
    """One QOS, as the scheduler has it. Whole GPU-minutes; `used` is rounded down, and lags by some minutes."""

    limit: int | None  # None: without one
    used: int
    running: int  # jobs
    keeps: bool  # what was used stays used; otherwise it fades


@dataclass(frozen=True)
class AccountSeen:
    """Which QOS an account may use, as the scheduler has it."""

    names: frozenset[str]
    default: str
    alike: bool  # everybody in it may use the same


@dataclass(frozen=True)
class FencesSeen:
    """What the scheduler lets the portal's accounts use. An account that it doesn't know isn't there."""

    budgets: Mapping[str, BudgetSeen]  # by the QOS
    accounts: Mapping[str, AccountSeen]
    at: datetime  # the cluster's time, after all of it was read
