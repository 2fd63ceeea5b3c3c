"""The Slurm dialect: calls in the gateway's words, and Slurm's answers read. Pure text; proven on 22.05.

Traps that shape it: what the command line of sbatch doesn't name is taken from elsewhere, so every limit is
named. sacct and squeue escape nothing, and a job's name may hold newlines and delimiters, so fields are
parted by a random word that also ends the record. A failed, cut or unreadable answer is an AnswerError,
never an empty one.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from accounting.books import Books
from accounting.runs import Run
from jobs.schedulers import (
    Answer,
    AnswerError,
    Call,
    Finding,
    Records,
    Rejected,
    TooMuch,
    slurm_probe,
    sreport,
)
from jobs.schedulers.qos import Qos
from jobs.schedulers.sacct import ASKED, devices, parsable_records, plain_records, read_answer
from jobs.spec import LONGEST_REASON, JobSeen, JobSpec, QueueEntry, Submission, Verdict

NOTICE_SECONDS = 60  # so long before its time limit a job gets USR1
EARLY_SECONDS = 60  # by so much it may come earlier

QUEUE_FIELDS = "iAuaPTrVSeNj"
FOUND_IN_QUEUE = "Fj"  # of an array's task, the array's id
FOUND_IN_ACCOUNTING = "JobID,JobName"  # 534_3 or 534_[4-9]: its raw id would be the task's own
NAMED = ("JobID", "Submit", "User", "Account", "Partition", "QOS", "TimelimitRaw", "ReqTRES", "JobName")
SECONDS = "%Y-%m-%dT%H:%M:%S"

# The job surely wasn't taken, and it isn't the job's fault.
SURELY_NOT_TAKEN = (
    "gateway: not started",
    "(connect failure)",
    "Slurm backup controller in standby mode",
    "Slurm temporarily unable to accept job",
    "Job creation temporarily disabled",
    "Resource temporarily unavailable",
    "Could not establish a configuration source",
)
# A sentence with one of these is about the accounting (slurmdbd); else it is slurmctld's.
OF_ACCOUNTING = ("slurmdbd", "sacct", "sreport", "slurm_persist", "accounting")
# The job may have been sent before this went wrong.
NOBODY_KNOWS = (
    "timed out",
    "Unable to contact",
    "Transport endpoint",
    "Zero Bytes were transmitted",
    "Unexpected message received",
    "Connection reset",
    "Broken pipe",
    "Communication",
    "Message receive failure",
    "Message send failure",
    "message length",
    "authentication error",
    "Munge",
)
# A refusal in Slurm's own words: it looked at the job and said no.
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", re.ASCII)
UNREADY = 73  # the gateway's exit code where it could not write the job's files
REFUSAL = re.compile(r"^sbatch: (?:error|fatal): (?:Batch job submission failed: )?(.+)$", re.MULTILINE)

START = re.compile(r"to start at (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)", re.ASCII)
JOB_ID = re.compile(r"([0-9]{1,10})(?:;[A-Za-z0-9_-]+)?")
TROUBLE = re.compile(r"^(?:sacct|squeue|slurm_\w+): (?:error|fatal): ", re.MULTILINE)
NOTHING_TO_CANCEL = ("No active jobs match", "Invalid job id", "already completing or completed")


CAPACITY_FIELDS = ("NodeList", "StateCompact", "Gres", "GresUsed")
CAPACITY_WIDTH = 200  # of fixed columns: node lists and GRES hold commas and colons, but no user writes them
OPEN_NODE = re.compile(r"(idle|mix|alloc|comp)[~#%+]?")
GPU_COUNT = re.compile(r"gpu(?::[^:(,]+)?:(\d{1,4})(?!\d)")  # no node has more


class Slurm(Qos):
    """The Scheduler protocol for Slurm with typed GPUs, spread evenly over whole numbers of nodes."""

    def submit(self, spec: JobSpec) -> Call:
        return Call("sbatch", (*_limits(spec), *_array(spec), spec.script), spec.token, spec.files)

    def read_submission(self, token: str, answer: Answer) -> Submission:
        verdict, scheduler_id, message = _verdict(answer)
        return Submission(token, verdict, scheduler_id, message)

    def estimate(self, spec: JobSpec) -> Call:
        return Call("sbatch-test", _limits(spec))

    def read_estimate(self, answer: Answer) -> datetime | None:
        """When the job would start. None: Slurm would take it and can't say when."""
        if answer.exit_code != 0:
            raise _failed("sbatch --test-only", answer)
        match = START.search(answer.stderr + answer.stdout)
        return _moment(match[1]) if match else None

    def queue(self, delimiter: str) -> Call:
        return _squeue(QUEUE_FIELDS, delimiter, "--states=all")

    def read_queue(self, answer: Answer, delimiter: str) -> tuple[QueueEntry, ...]:
        return tuple(
            _queue_entry(*fields) for fields in _rows("squeue", answer, delimiter, len(QUEUE_FIELDS))
        )

    def find_in_queue(self, tokens: Sequence[str], delimiter: str) -> Call:
        return _squeue(FOUND_IN_QUEUE, delimiter, "--states=all", f"--name={','.join(tokens)}")

    def find_in_accounting(self, tokens: Sequence[str], since: datetime, delimiter: str) -> Call:
        names = f"--name={','.join(tokens)}"
        return _sacct(FOUND_IN_ACCOUNTING, delimiter, names, f"--starttime={since.astimezone(UTC):{SECONDS}}")

    def read_found(self, answer: Answer, delimiter: str) -> Mapping[str, str]:
        """token → id. If a token has several jobs, the first: it is the one that runs, the others end at once."""
        found: dict[str, str] = {}
        rows = [(job_id.partition("_")[0], token) for job_id, token in _rows("search", answer, delimiter, 2)]
        for job_id, token in sorted(rows, key=_by_number, reverse=True):
            found[token] = job_id
        return found

    def named(self, job_ids: Sequence[str], delimiter: str) -> Call:
        """Without a period: a window shows a short job only once slurmdbd has learned its eligible time."""
        return _sacct(",".join(NAMED), delimiter, f"--jobs={','.join(job_ids)}")

    def read_named(self, answer: Answer, delimiter: str, since: datetime) -> tuple[JobSeen, ...]:
        """Each job, and each task of an array, once, as it was first submitted. Ids wrap: what was submitted before `since` is another's."""
        seen: dict[str, JobSeen] = {}
        for fields in sorted(_rows("sacct", answer, delimiter, len(NAMED))):
            one = _job_seen(*fields)
            if one is not None and one.submitted_at >= since:
                seen.setdefault(one.scheduler_id, one)
        return tuple(seen.values())

    def capacity(self) -> Call:
        layout = ",".join(f"{field}:{CAPACITY_WIDTH}" for field in CAPACITY_FIELDS)
        return Call("sinfo", ("--noheader", "--Node", f"--Format={layout}"))

    def read_capacity(self, answer: Answer) -> int | None:
        """GPUs that are in no use, on nodes that take jobs; None if Slurm doesn't say."""
        if answer.exit_code != 0 or answer.truncated:
            return None
        nodes = {}
        for line in answer.stdout.splitlines():
            fields = [line[at : at + CAPACITY_WIDTH].strip() for at in range(0, len(line), CAPACITY_WIDTH)]
            if len(fields) == len(CAPACITY_FIELDS):
                nodes[fields[0]] = fields[1:]
        # A node that comes back with jobs on it is said, for moments, to use more than it has.
        return sum(
            max(_gpus(all_) - _gpus(used), 0)
            for state, all_, used in nodes.values()
            if OPEN_NODE.fullmatch(state)
        )

    def cancel(self, token: str, scheduler_id: str) -> Call:
        return Call("scancel", (scheduler_id,), token)

    def end(self, user: str, account: str, scheduler_id: str) -> Call:
        return Call("scancel-of", (user, account, scheduler_id))

    def read_cancel(self, answer: Answer) -> None:
        """Quiet if the job is being ended or there is none to end: its state will say so."""
        if answer.exit_code != 0 and not any(words in answer.stderr for words in NOTHING_TO_CANCEL):
            raise _failed("scancel", answer)

    def records(self, since: datetime, until: datetime, delimiter: str) -> Call:
        period = (
            f"--starttime={since.astimezone(UTC):{SECONDS}}",
            f"--endtime={until.astimezone(UTC):{SECONDS}}",
        )
        return _sacct(",".join(ASKED), delimiter, *period)

    def read_records(self, answer: Answer, delimiter: str) -> Records:
        text = _whole("sacct", answer, delimiter)
        runs: list[Run] = []
        rejected: list[Rejected] = []
        for item in read_answer(text, delimiter):
            if isinstance(item, Rejected):
                rejected.append(item)
            else:
                runs.append(item)
        return Records(tuple(runs), tuple(rejected))

    def probe(self, now: datetime, delimiter: str) -> tuple[Call, ...]:
        return slurm_probe.calls(now, delimiter)

    def read_probe(self, answers: Sequence[Answer], now: datetime, delimiter: str) -> tuple[Finding, ...]:
        return slurm_probe.read(answers, now, delimiter)

    def books(self, begin: datetime, end: datetime) -> tuple[Call, ...]:
        return sreport.account_sums(begin, end), sreport.reservations(begin, end)

    def read_books(self, answers: Sequence[Answer], until: datetime) -> Books:
        """Raises also where the rows of the users don't add up to the whole, and no idle reservation explains it."""
        accounts, reserved = answers
        sums, idle = sreport.read_account_sums(accounts), sreport.read_idle(reserved)
        if sums.nobodys > idle:
            raise AnswerError(
                "sreport does not show every user's usage: the collector needs Slurm's level Operator.",
                transient=False,
            )
        return Books(sums.by_account, until, idle - sums.nobodys)

    def is_rolled_up(self, begin: datetime, end: datetime) -> Call:
        return sreport.utilization(begin, end)

    def read_is_rolled_up(self, answer: Answer) -> bool:
        return sreport.read_is_rolled_up(answer)

    def associations(self, accounts: Sequence[str]) -> Call:
        return Call("sacctmgr-show", tuple(accounts))

    def read_missing(self, accounts: Sequence[str], user: str, answer: Answer) -> tuple[Call, ...]:
        """What is still to be made, top down; nothing if `user` may run on the last account. No user: the accounts alone."""
        shown = _shown(answer)
        chain = zip(accounts, ("root", *accounts), strict=False)
        missing = [pair for pair in chain if "|".join((*pair, "")) not in shown]
        if any(line.startswith(f"{accounts[-1]}|") for line in shown):
            missing = []  # it is there, if perhaps elsewhere: a centre's own tree was imported
        calls = [Call("sacctmgr-account", pair) for pair in missing]
        if user and f"{accounts[-1]}||{user}" not in shown:
            calls.append(Call("sacctmgr-user", (user, accounts[-1])))
        return tuple(calls)

    def dissociate(self, account: str, user: str) -> tuple[Call, ...]:
        return Call("sacctmgr-remove-user", (user, account)), self.associations([account])

    def read_dissociated(self, account: str, user: str, answers: Sequence[Answer]) -> None:
        removed, shown = answers
        if f"{account}||{user}" in _shown(shown):
            raise _failed("sacctmgr", removed)


def _limits(spec: JobSpec) -> tuple[str, ...]:
    """Counts for a node and its one task, not for a GPU: that holds on every version and with every plugin."""
    if spec.nodes < 1 or spec.gpus < 1 or spec.gpus % spec.nodes:
        raise ValueError(f"{spec.gpus} GPUs can't be spread evenly over {spec.nodes} nodes")
    gpus = spec.gpus // spec.nodes
    kind = f"{spec.gpu_type}:" if spec.gpu_type else ""
    return (
        f"--account={spec.account}",
        *((f"--qos={spec.qos}",) if spec.qos else ()),
        f"--partition={spec.partition}",
        f"--nodes={spec.nodes}",
        "--ntasks-per-node=1",
        f"--cpus-per-task={spec.cpus_per_gpu * gpus}",
        f"--mem={spec.memory_per_gpu_mib * gpus}M",
        f"--gres=gpu:{kind}{gpus}",
        f"--time={spec.time_limit_minutes}",
        *_notice(spec),
        "--requeue",
    )


def _notice(spec: JobSpec) -> tuple[str, ...]:
    """None for a short job: it could come as the job begins, before its shell listens, and end it."""
    is_short = spec.time_limit_minutes * 60 <= NOTICE_SECONDS + EARLY_SECONDS
    return () if is_short else (f"--signal=B:USR1@{NOTICE_SECONDS}",)


def _array(spec: JobSpec) -> tuple[str, ...]:
    if spec.tasks == 1:
        return ()
    at_once = f"%{spec.at_once}" if spec.at_once and spec.at_once < spec.tasks else ""
    return (f"--array=0-{spec.tasks - 1}{at_once}",)


def _verdict(answer: Answer) -> tuple[Verdict, str, str]:
    message = one_line(answer.stderr)
    if answer.exit_code == 0 and (match := JOB_ID.fullmatch(answer.stdout.strip())):
        return Verdict.ACCEPTED, match[1], message
    if answer.exit_code in (0, None) or answer.exit_code < 0:
        return Verdict.UNKNOWN, "", message
    if any(words in answer.stderr for words in SURELY_NOT_TAKEN):
        return Verdict.RETRY, "", message
    if any(words in answer.stderr for words in NOBODY_KNOWS):
        return Verdict.UNKNOWN, "", message
    if answer.stderr.startswith("gateway: "):
        if answer.exit_code == UNREADY:
            return Verdict.UNREADY, "", message.removeprefix("gateway: ")
        return Verdict.REFUSED, "", message.removeprefix("gateway: ")
    refusals = REFUSAL.findall(answer.stderr)
    if refusals:
        return Verdict.REFUSED, "", one_line(refusals[-1])
    return Verdict.UNKNOWN, "", message


def _squeue(fields: str, delimiter: str, *options: str) -> Call:
    layout = "".join(f"%{field}{delimiter}" for field in fields)
    return Call("squeue", ("--noheader", "--array", f"--format={layout}", *options))


def _sacct(fields: str, delimiter: str, *options: str) -> Call:
    flags = ("--allocations", "--duplicates", "--noconvert", "--noheader", "--parsable")
    return Call("sacct", (*flags, f"--delimiter={delimiter}", f"--format={fields}", *options))


def _whole(program: str, answer: Answer, delimiter: str) -> str:
    if answer.exit_code != 0:
        raise _failed(program, answer)
    if answer.truncated:
        raise TooMuch(f"The answer of {program} was too long, and cut off.", transient=True)
    if answer.stdout and not answer.stdout.endswith(f"{delimiter}\n"):
        raise AnswerError(f"The answer of {program} was cut off.", transient=True)
    if TROUBLE.search(answer.stderr):  # it may have gone wrong halfway and ended well all the same
        raise _failed(program, answer)
    return answer.stdout


def _rows(program: str, answer: Answer, delimiter: str, columns: int) -> list[list[str]]:
    """Whole records only: one that can't be read means that the answer as a whole isn't understood."""
    whole = _whole(program, answer, delimiter)
    if plain := plain_records(whole, delimiter, columns):
        return plain
    rows: list[list[str]] = []
    for record in parsable_records([whole], delimiter, columns):
        if isinstance(record, Rejected):
            raise AnswerError(f"A record of {program} {record.reason}.", transient=False)
        rows.append(record)
    return rows


def _queue_entry(
    job_id: str, raw: str, user: str, account: str, partition: str, state: str, reason: str, *rest: str
) -> QueueEntry:
    submitted, start, end, nodes, name = rest
    return QueueEntry(
        scheduler_id=job_id,
        job_id_raw=raw,
        token=name,
        account=account,
        user=user,
        partition=partition,
        state=state,
        reason=reason[:LONGEST_REASON],
        submitted_at=_moment(submitted),
        started_at=_moment(start),
        ended_at=_moment(end),
        nodes=nodes,
    )


def _job_seen(
    job_id: str,
    submit: str,
    user: str,
    account: str,
    partition: str,
    qos: str,
    limit: str,
    tres: str,
    name: str,
) -> JobSeen | None:
    submitted = _moment(submit)
    if submitted is None:
        return None
    return JobSeen(
        scheduler_id=job_id,
        token=name,
        user=user,
        account=account,
        partition=partition,
        qos=qos,
        gpus=devices(tres)[0],
        time_limit_minutes=int(limit) if limit.isascii() and limit.isdigit() else None,
        submitted_at=submitted,
    )


def _gpus(gres: str) -> int:
    return sum(int(count) for count in GPU_COUNT.findall(gres))


def _moment(text: str) -> datetime | None:
    """A time in UTC; None for every way in which Slurm says that there is none."""
    if not MOMENT.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)  # thirty times as fast as strptime
    except ValueError:
        return None


def _by_number(row: Sequence[str]) -> int:
    return int(row[0]) if row[0].isascii() and row[0].isdigit() else 0


def _failed(program: str, answer: Answer) -> AnswerError:
    said = one_line(answer.stderr) or "nothing"
    if answer.exit_code is None:
        return AnswerError(f"{program} did not end in time.", transient=True)
    return AnswerError(f"{program} failed with exit code {answer.exit_code} and said: {said}", transient=True)


def _shown(answer: Answer) -> set[str]:
    if answer.exit_code != 0 or answer.truncated:
        raise _failed("sacctmgr", answer)
    return set(answer.stdout.splitlines())


def is_of_accounting(said: str) -> bool:
    """Whether an error is of the accounting, not of the scheduler itself: who has to be looked after."""
    return any(word in said.lower() for word in OF_ACCOUNTING)


def one_line(text: str) -> str:
    """The scheduler's words, fit for a page: printable, one line, at most 300 characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text[:2000]).split())[:300]
