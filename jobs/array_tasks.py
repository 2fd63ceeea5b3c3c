"""What one answer of a cluster says of each task of a sweep: one job here, one array in the scheduler. Pure.

534 is the job, 534_3 a task of it, 534_[4-9%2] tasks that wait. `Job.task_states` keeps a letter for each task, for an
answer tells only of the last minutes: that a task ended is remembered.

Two traps, seen on 22.05. The record of tasks that were cancelled before they began, 534_[4-9], is not kept up to date and
may name some that began meanwhile. And where those waited for others (%2), no window of time ever shows that record. So
the queue's word is taken, too, that a task ended which had not begun: it held nothing, and nothing is charged.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from accounting.runs import Run
from jobs import last_word
from jobs.attributing import is_its
from jobs.models import Job
from jobs.spec import QueueEntry
from jobs.states import ENDS, FINAL, HOLDING_WORDS, WAITING_WORDS, State, TaskState

GONE = timedelta(
    minutes=10
)  # what waited, and what neither queue nor accounting shows for so long, never began
SEVERAL = re.compile(r"\[([0-9,:-]+)(?:%([0-9]{1,7}))?\]", re.ASCII)
PART = re.compile(r"([0-9]{1,7})(?:-([0-9]{1,7})(?::([1-9][0-9]{0,6}))?)?", re.ASCII)


@dataclass
class News:
    """Of one sweep."""

    job: Job
    as_of: datetime
    shown: Mapping[str, QueueEntry]  # what the queue says, by raw id
    waiting: set[int] = field(default_factory=set)
    running: set[int] = field(default_factory=set)
    never_began: set[int] = field(default_factory=set)
    records: dict[int, Run] = field(default_factory=dict)  # the last one of each task
    reason: str = ""  # why some wait
    starts_at: datetime | None = None  # the next of them, as the scheduler expects
    starts: list[datetime] = field(default_factory=list)
    is_there: bool = False  # in the queue

    def hear(self, entry: QueueEntry) -> None:
        """What the queue says."""
        self.is_there = True
        tasks = tasks_of(self.job, entry.scheduler_id)
        if entry.state in HOLDING_WORDS:
            self.running.update(tasks)
            self.starts += [entry.started_at] if entry.started_at else []
        elif entry.state in WAITING_WORDS:
            self.waiting.update(tasks)
            self.reason = self.reason or entry.reason
            self.starts_at = min(filter(None, (self.starts_at, entry.started_at)), default=None)
        elif not entry.nodes:
            self.never_began.update(tasks)

    def note(self, run: Run) -> None:
        """What the accounting says; of a task's records the last one comes last."""
        tasks = tasks_of(self.job, run.job_id)
        self.starts += [run.start] if run.start else []
        if "[" not in run.job_id:
            self.records.update(dict.fromkeys(tasks, run))
        elif run.end is not None:
            self.never_began.update(tasks)

    @property
    def states(self) -> str:
        before = self.job.task_states or TaskState.WAITING * self.job.tasks
        return "".join(self._state(task, TaskState(before[task])) for task in range(self.job.tasks))

    def _state(self, task: int, before: TaskState) -> TaskState:
        if task in self.running:
            return TaskState.RUNNING
        if task in self.waiting:
            return TaskState.WAITING
        run = self.records.get(task)
        if run and last_word.is_last(run, self.shown.get(run.job_id_raw), self.as_of):
            return TaskState.of(ENDS.get(run.state, State.FAILED))
        # Also one that ran, was requeued, and did not begin again.
        waited = run.end is not None if run else before == TaskState.WAITING
        if waited and task in self.never_began:
            return TaskState.CANCELLED
        return before

    @property
    def started_at(self) -> datetime | None:
        return min(filter(None, (self.job.started_at, *self.starts)), default=None)

    @property
    def ended_at(self) -> datetime | None:
        return max((run.end for run in self.records.values() if run.end), default=None)


def look(
    jobs: Mapping[str, Job], queue: Sequence[QueueEntry], runs: Sequence[Run] | None, now: datetime
) -> list[News]:
    """What is new of each sweep among `jobs` (by scheduler id). `runs` None: the accounting gave no good answer."""
    sweeps = {number: job for number, job in jobs.items() if job.is_sweep and job.state not in FINAL}
    if not sweeps:
        return []
    shown = last_word.by_number(queue)
    news = {number: News(job, now, shown) for number, job in sweeps.items()}
    for entry in queue:
        one = news.get(array_of(entry.scheduler_id))
        if one and one.job.token == entry.token:
            one.hear(entry)
    for run in sorted(runs or (), key=last_word.age):
        one = news.get(array_of(run.job_id))
        if one and is_its(one.job, run):
            one.note(run)
    for one in news.values():
        seen_at = one.job.confirmed_at
        if runs is not None and not one.is_there and seen_at and now - seen_at > GONE:
            one.never_began.update(range(one.job.tasks))
    return list(news.values())


def array_of(scheduler_id: str) -> str:
    """The job's own id: 534 of 534_3."""
    return scheduler_id.partition("_")[0]


def tasks_of(job: Job, scheduler_id: str) -> set[int]:
    """Which tasks an id is of: all of an array that has not begun, and none where it can't be read."""
    if "_" not in scheduler_id:
        return set(range(job.tasks))
    return {task for some in _ranges(scheduler_id) for task in some if task < job.tasks}


def last_task(scheduler_id: str) -> int:
    """The highest number of a task that an id names; 0 if it names none."""
    return max((some[-1] for some in _ranges(scheduler_id) if some), default=0)


def most_at_once(scheduler_id: str) -> int | None:
    """2 of 534_[4-9%2]."""
    several = SEVERAL.fullmatch(scheduler_id.partition("_")[2])
    return int(several[2]) if several and several[2] else None


def _ranges(scheduler_id: str) -> list[range]:
    said = scheduler_id.partition("_")[2]
    several = SEVERAL.fullmatch(said)
    parts = [PART.fullmatch(part) for part in (several[1] if several else said).split(",")]
    return [_range(part) for part in parts if part] if all(parts) else []


def _range(part: re.Match[str]) -> range:
    first, last, step = part.groups()
    return range(int(first), int(last or first) + 1, int(step or 1))


def is_over(states: str) -> bool:
    """Every task has ended."""
    return not {*states} & {TaskState.WAITING, TaskState.RUNNING}


def outcome(states: str) -> tuple[State, str]:
    """How a sweep ended whose tasks all ended: its state and the reason."""
    if {*states} == {TaskState.SUCCEEDED}:
        return State.SUCCEEDED, "COMPLETED"
    if TaskState.CANCELLED in states:
        return State.CANCELLED, "CANCELLED"
    return State.FAILED, "TasksFailed"
