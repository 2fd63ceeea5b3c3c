"""One object that speaks for a cluster: where it is, its dialect, and a login for each role.

    with connect_to("firefly") as door:
        submissions = door.submit("fp-ada", specs)

Contract. A method tells what the cluster said or raises a ClusterError, whose `transient` says whether the
same, later, may succeed. None ever means that a job has ended or isn't there. Interrupted: nobody knows what
the call did.
"""

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from django.conf import settings

from accounting.books import Books
from jobs import transfers
from jobs.logins import MARGIN, QUICK, SLOW, Login, count_of
from jobs.schedulers import AnswerError, Call, Finding, Records, TooMuch, new_delimiter
from jobs.schedulers.slurm import one_line
from jobs.sites import ConfigError, Site, read_clusters
from jobs.spec import (
    FencesSeen,
    FileEntry,
    JobSeen,
    JobSpec,
    Listing,
    QueueEntry,
    Submission,
    Tail,
    Verdict,
)
from jobs.ssh import SshError, Unreachable

SENDING = 100  # seconds for one submission of many jobs: below SLOW, so that a kept login serves for longer
NAMED_AT_ONCE = 500  # ids in one look-up
HOUR = timedelta(hours=1)
SHUT_OUT = "disabled"  # what the centre's answer says of a user who may not log in any more


def connect_to(name: str) -> "Door":
    """The cluster of that name in settings.CLUSTERS_FILE. Opens no connection yet. Raises ConfigError."""
    clusters = read_clusters(Path(settings.CLUSTERS_FILE))
    if name not in clusters:
        raise ConfigError(
            f"{settings.CLUSTERS_FILE} has no [clusters.{name}]; it has: {', '.join(clusters) or 'none'}."
        )
    return Door(clusters[name])


@dataclass(frozen=True)
class Poll:
    """A look at the whole cluster.

    The accounting is read before the queue: a run that it calls RUNNING and the queue doesn't list has lost
    its end. The queue also lists jobs that ended in the last minutes, with their final state.
    """

    queue: tuple[QueueEntry, ...]
    records: Records | None  # None: the accounting gave no good answer, `trouble` says why
    trouble: AnswerError | None
    free_gpus: int | None  # None: not known
    asked_at: datetime  # the cluster's time, after all its answers


@dataclass(frozen=True)
class Pull:
    """A slice of the past: every record with any life in it, and the queue as it is now, read after them."""

    records: Records
    queue: tuple[QueueEntry, ...]
    asked_at: datetime  # the cluster's time, after its answers


class Door:
    """Speaks for one cluster. `username` first: the person as whom it is done. Not for several threads."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._login: Login | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if self._login:
            self._login.discard()

    def close(self) -> None:
        if self._login:
            self._login.close()
            self._login = None

    def _as(self, username: str) -> Login:
        """One login at a time: whose turn is over is logged out."""
        if self._login and self._login.username == username:
            return self._login
        self.close()
        self._login = Login(self.site, username)
        return self._login

    def check(self, username: str) -> None:
        """Whether `username` is let in now: raises Refused, or whatever else stands in the way."""
        Login(self.site, username).check()

    # Jobs of one person

    def prepare(self, username: str, token: str) -> None:
        """Make the job's folder; it may be there already."""
        self._as(username).ask_gateway(Call("prepare", (), token))

    def submit(self, username: str, specs: Sequence[JobSpec]) -> list[Submission]:
        """Send all in one exchange; one Submission for each, in order. Files that don't travel with it must be there.

        Raises only if surely none was sent. RETRY may be sent again later, UNREADY too; UNKNOWN first needs `find`,
        and `forget` when it surely isn't there.
        """
        dialect, login = self.site.scheduler, self._as(username)
        calls = [dialect.submit(spec) for spec in specs]
        login.session(SENDING + MARGIN)  # a login that fails raises here, before anything is sent
        try:
            answers, _ = login.ask(calls, SENDING)
        except Unreachable:
            raise
        except (SshError, AnswerError) as error:
            return [Submission(spec.token, Verdict.UNKNOWN, message=str(error)) for spec in specs]
        pairs = zip(specs, answers, strict=True)
        return self._reopened(
            username, [dialect.read_submission(spec.token, answer) for spec, answer in pairs]
        )

    def _reopened(self, username: str, submissions: list[Submission]) -> list[Submission]:
        """What surely wasn't taken leaves no mark behind; if the mark can't be removed, nobody knows."""
        again = [submission.token for submission in submissions if submission.verdict is Verdict.RETRY]
        if not again:
            return submissions
        try:
            self.forget(username, *again)
        except (SshError, AnswerError):
            return [replace(s, verdict=Verdict.UNKNOWN) if s.token in again else s for s in submissions]
        return submissions

    def forget(self, username: str, *tokens: str) -> None:
        """Open the way for another submission. Only when queue and accounting have been asked, and are sure."""
        self._as(username).ask_gateway(*(Call("forget", (), token) for token in tokens))

    def find(self, username: str, tokens: Sequence[str], since: datetime) -> Mapping[str, str]:
        """token → id of those that the queue or the accounting knows. Both answered well, or it raises."""
        dialect, delimiter = self.site.scheduler, new_delimiter()
        in_accounting = dialect.find_in_accounting(tokens, since, delimiter)
        in_queue = dialect.find_in_queue(tokens, delimiter)
        (recorded, queued), _ = self._as(username).ask([in_accounting, in_queue], SLOW)
        return {**dialect.read_found(recorded, delimiter), **dialect.read_found(queued, delimiter)}

    def estimate(self, username: str, spec: JobSpec) -> datetime | None:
        """When the scheduler would start it; its refusal is an AnswerError in its words."""
        (answer,), _ = self._as(username).ask([self.site.scheduler.estimate(spec)])
        return self.site.scheduler.read_estimate(answer)

    def cancel(self, username: str, jobs: Sequence[tuple[str, str]]) -> None:
        """(token, scheduler id) of each job to end. That a job did end, its state says later."""
        dialect = self.site.scheduler
        answers, _ = self._as(username).ask([dialect.cancel(token, job_id) for token, job_id in jobs], SLOW)
        for answer in answers:
            dialect.read_cancel(answer)

    # Files of one job

    def free_space(self, username: str) -> int:
        """Bytes free in the person's home."""
        (told,) = self._as(username).ask_gateway(Call("space"))
        return count_of(told, "free")

    def upload(
        self,
        username: str,
        token: str,
        path: str,
        source: BinaryIO,
        size: int,
        sha256: str,
        *,
        executable: bool = False,
        progress: Callable[[int], None] = lambda sent: None,
    ) -> None:
        """Bring a file into the job's folder, going on where an earlier try was cut off. `source` must seek.

        Returns when the cluster has the whole file on disk and its sha256 is right. `progress` hears the
        bytes that are there, every PIECE. Raises FileRefused if the cluster won't have it.
        """
        transfers.upload(
            self._as(username), token, path, source, size, sha256, executable=executable, progress=progress
        )

    def list_files(self, username: str, token: str) -> Listing:
        """What lies in the job's folder; never a link, never a hidden name."""
        (told,) = self._as(username).ask_gateway(Call("list", (), token))
        try:
            files = tuple(_file_entry(file) for file in told["files"])
            return Listing(files, int(told["others"]), bool(told["truncated"]))
        except (KeyError, TypeError, ValueError, OverflowError):
            raise AnswerError("The list of files can't be understood.", transient=False) from None

    def tail(self, username: str, token: str, path: str, offset: int = -1) -> Tail:
        """At most 256 KiB of a file from `offset` on; -1: its end."""
        (told,) = self._as(username).ask_gateway(Call("tail", (path, str(offset)), token))
        try:
            data = base64.b64decode(told["data"], validate=True)
        except (KeyError, TypeError, ValueError):
            raise AnswerError("The end of the file can't be understood.", transient=False) from None
        size = None if told.get("size") is None else count_of(told, "size")
        return Tail(size, count_of(told, "offset"), data)

    def download(self, username: str, token: str, path: str) -> Iterator[bytes]:
        """The bytes of a file, as they come; a broken connection is taken up where it broke."""
        return transfers.download(self._as(username), token, path)

    # The whole cluster

    def poll(self, since: datetime, until: datetime) -> Poll:
        """Queue, free GPUs, and every accounting record with any life in [since, until], in one exchange."""
        dialect, delimiter = self.site.scheduler, new_delimiter()
        calls = [dialect.records(since, until, delimiter), dialect.queue(delimiter), dialect.capacity()]
        (recorded, queued, free), asked_at = self._as(self.site.collector).ask(calls, QUICK)
        queue = dialect.read_queue(queued, delimiter)
        free_gpus = dialect.read_capacity(free)
        try:
            return Poll(queue, dialect.read_records(recorded, delimiter), None, free_gpus, asked_at)
        except AnswerError as trouble:
            return Poll(queue, None, trouble, free_gpus, asked_at)

    def pull(self, since: datetime, until: datetime, *, most: int | None = None) -> Pull:
        """The records of a slice, which may be many. Raises TooMuch where a shorter slice may be answered whole.

        `most`: characters; of a longer answer nothing is read.
        """
        dialect, delimiter = self.site.scheduler, new_delimiter()
        calls = [dialect.records(since, until, delimiter), dialect.queue(delimiter)]
        (recorded, queued), asked_at = self._as(self.site.collector).ask(calls, SLOW)
        if most and len(recorded.stdout) > most:
            raise TooMuch("The records are too many to be read at once.", transient=True)
        return Pull(
            dialect.read_records(recorded, delimiter), dialect.read_queue(queued, delimiter), asked_at
        )

    def named(self, job_ids: Sequence[str], since: datetime) -> list[JobSeen]:
        """What the accounting knows of jobs and of arrays' tasks, by the jobs' own ids: names, and what was asked for.

        Only of those submitted since `since`.
        """
        dialect, delimiter = self.site.scheduler, new_delimiter()
        calls = [
            dialect.named(job_ids[at : at + NAMED_AT_ONCE], delimiter)
            for at in range(0, len(job_ids), NAMED_AT_ONCE)
        ]
        answers, _ = self._as(self.site.collector).ask(calls, SLOW)
        return [seen for answer in answers for seen in dialect.read_named(answer, delimiter, since)]

    def probe(self) -> tuple[tuple[Finding, ...], datetime]:
        """Whether the accounting can be relied on, as the collector sees it, and the cluster's time."""
        dialect, delimiter = self.site.scheduler, new_delimiter()
        calls = dialect.probe(datetime.now(UTC), delimiter)
        answers, asked_at = self._as(self.site.collector).ask(calls, SLOW)
        return dialect.read_probe(answers, asked_at, delimiter), asked_at

    def books(self, begin: datetime, end: datetime) -> Books:
        """What the scheduler itself adds up for [begin, end), both whole hours; less, where it has not come so far."""
        over = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        end = min(end, over)  # no hour is added up before its end
        if end <= begin:
            return Books({}, begin, 0)
        dialect, collector = self.site.scheduler, self._as(self.site.collector)
        calls = [*dialect.books(begin, end), dialect.is_rolled_up(end - HOUR, end)]
        (*answers, last), _ = collector.ask(calls, SLOW)
        if dialect.read_is_rolled_up(last):
            return dialect.read_books(answers, end)
        hours = [begin + HOUR * passed for passed in range((end - begin) // HOUR)]
        told, _ = collector.ask([dialect.is_rolled_up(hour, hour + HOUR) for hour in hours], SLOW)
        done = [hour for hour, answer in zip(hours, told, strict=True) if dialect.read_is_rolled_up(answer)]
        if not done:
            return Books({}, begin, 0)
        until = done[-1] + HOUR
        answers, _ = collector.ask(dialect.books(begin, until), SLOW)
        return dialect.read_books(answers, until)

    # Users and their accounts

    def account_exists(self, username: str) -> bool:
        """Whether the POSIX user is there and may log in. If the centre refused to make it: an AnswerError in its words."""
        calls = (Call("user-exists", (username,)), Call("user-answer", (username,)))
        found, said = self._as(self.site.admin).ask_gateway(*calls)
        if said.get("state") == SHUT_OUT:
            return False
        if found.get("exists") is True:
            return True
        if said.get("state") == "refused":
            raise AnswerError(one_line(str(said.get("reason", "refused without a reason"))), transient=False)
        return False

    def is_taken(self, username: str) -> bool:
        """Whether there is such a POSIX user at all, also one who may not log in any more."""
        (found,) = self._as(self.site.admin).ask_gateway(Call("user-exists", (username,)))
        return found.get("exists") is True

    def provision(self, username: str) -> None:
        """Ask the centre for the POSIX user; `account_exists` says when there is one. Asking twice is asking once."""
        self._as(self.site.admin).ask_gateway(Call("request-user", (username,)))

    def shut_out(self, username: str) -> None:
        """Ask the centre to end the user's logins and to let no certificate in; `is_shut_out` says when that is done."""
        self._as(self.site.admin).ask_gateway(Call("disable-user", (username,)))

    def is_shut_out(self, username: str) -> bool:
        (said,) = self._as(self.site.admin).ask_gateway(Call("user-answer", (username,)))
        return said.get("state") == SHUT_OUT

    def end_jobs(self, username: str, account: str) -> None:
        """Cancel whatever `username` has in the queue on `account`: as the admin, who is its coordinator."""
        dialect, delimiter = self.site.scheduler, new_delimiter()
        (queued,), _ = self._as(self.site.collector).ask([dialect.queue(delimiter)])
        entries = dialect.read_queue(queued, delimiter)
        theirs = [one.scheduler_id for one in entries if (one.user, one.account) == (username, account)]
        calls = [dialect.end(username, account, job_id) for job_id in theirs]
        answers, _ = self._as(self.site.admin).ask(calls, SLOW) if calls else ([], None)
        for answer in answers:
            dialect.read_cancel(answer)

    def make_accounts(self, accounts: Sequence[str]) -> None:
        """Have `accounts`, each below the one before. May be repeated."""
        self.associate("", accounts)

    def associate(self, username: str, accounts: Sequence[str]) -> None:
        """Let `username` run on the last of `accounts`, each of which lies below the one before. May be repeated."""
        dialect, root = self.site.scheduler, self.site.root_account
        chain = (root, *accounts) if root else tuple(accounts)
        admin, show = self._as(self.site.admin), dialect.associations(chain)
        (shown,), _ = admin.ask([show])
        missing = dialect.read_missing(chain, username, shown)
        if not missing:
            return
        (*made, shown), _ = admin.ask([*missing, show], SLOW)
        if dialect.read_missing(chain, username, shown):
            said = one_line(" ".join(answer.stderr for answer in made)) or "nothing"
            what = (
                f"{username} could not be put into {accounts[-1]}"
                if username
                else f"{accounts[-1]} could not be made"
            )
            raise AnswerError(f"{what}: {said}", transient=True)

    def dissociate(self, username: str, account: str) -> None:
        """Let `username` run on `account` no longer. May be repeated."""
        dialect = self.site.scheduler
        answers, _ = self._as(self.site.admin).ask(dialect.dissociate(account, username), SLOW)
        dialect.read_dissociated(account, username, answers)

    # Budgets

    def fences(self, accounts: Sequence[str], changes: Sequence[Call] = ()) -> tuple[list[str], FencesSeen]:
        """Make the changes, if any, and look at all budgets, in one exchange.

        Before the look, for each change: why it was not made, "" if it was.
        """
        dialect = self.site.scheduler
        look = dialect.fences(self.site.name, accounts)
        answers, at = self._as(self.site.fencer).ask([*changes, *look], SLOW)
        made, shown = answers[: len(changes)], answers[len(changes) :]
        return [dialect.read_change(answer) for answer in made], dialect.read_fences(shown, at)


def _file_entry(file: Mapping[str, Any]) -> FileEntry:
    return FileEntry(str(file["path"]), int(file["size"]), datetime.fromtimestamp(file["mtime"], UTC))
