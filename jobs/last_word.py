"""Which of a job's runs has the last word? A requeued job has several records under one id, and may get another.

Slurm books the next run only when it starts, under a later submission; until then the run before is the last record. So
what the queue says of the job now is compared with it: a record of an earlier submission or an earlier start is not the
end. Of a job that the queue has forgotten, a run that usually is followed by another (a node failed, urgent work came) is
believed to be the last only after a while.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from accounting.runs import Run
from jobs.spec import QueueEntry
from jobs.states import NEVER_FINAL

USUALLY_FOLLOWED = frozenset({"NODE_FAIL", "PREEMPTED", "BOOT_FAIL"})
A_WHILE = timedelta(minutes=10)  # a requeued job waits two minutes, and slurmdbd lags by less than the rest
LONG_AGO = datetime.min.replace(tzinfo=UTC)


def last_runs(runs: Iterable[Run]) -> dict[str, Run]:
    """The newest run of each job, by the job's id as people see it."""
    return {run.job_id: run for run in sorted(runs, key=age)}


def is_last(run: Run, shown: QueueEntry | None, as_of: datetime) -> bool:
    """Whether the job surely ended with `run`, its newest record. `shown`: what the queue says of the job, not waiting
    and not running any more; None if it doesn't list it."""
    if run.end is None or run.state in NEVER_FINAL:
        return False
    if shown is None:
        return run.state not in USUALLY_FOLLOWED or run.end < as_of - A_WHILE
    resubmitted = shown.submitted_at and run.submit and shown.submitted_at > run.submit
    restarted = shown.started_at and run.start and shown.started_at > run.start
    return not (resubmitted or restarted)


def by_number(queue: Iterable[QueueEntry]) -> Mapping[str, QueueEntry]:
    return {entry.job_id_raw: entry for entry in queue}


def age(run: Run) -> tuple[datetime, int, datetime]:
    """Requeued within a second, two runs have the same submission; then the number of the record tells."""
    index = int(run.db_index) if run.db_index.isascii() and run.db_index.isdigit() else 0
    return run.submit or LONG_AGO, index, run.start or LONG_AGO
