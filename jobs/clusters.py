"""One object that speaks for a cluster: where it is (clusters.toml), its dialect, and a login for each role.

    cluster = connect_to("firefly")
    with cluster.as_member("fp-ada") as member:
        submissions = member.submit(specs)

Contract. A method either tells what the cluster said or raises: an SshError (see jobs.ssh) or an AnswerError.
`error.transient` says whether the same, later, may succeed. Neither ever means that a job has ended or
isn't there. A login is made with the first call, with a certificate of minutes, and renewed when it is too
old; a login node that can't be reached is passed over for the next one.
"""

import base64
import binascii
import json
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, TypeVar

from django.conf import settings

from jobs.credentials import CaKeyError, load_ca_key, mint
from jobs.schedulers import Answer, AnswerError, Call, Records, Scheduler, new_delimiter
from jobs.schedulers.slurm import Slurm, one_line
from jobs.spec import FileEntry, JobSpec, Listing, QueueEntry, Submission, Tail, Verdict
from jobs.ssh import CONNECT_SECONDS, Interrupted, LoginNode, Session, SshError, Unreachable, connect

SCHEDULERS: Mapping[str, Callable[[], Scheduler]] = {"slurm": Slurm}

QUICK = 60  # seconds that the gateway may take for a request about files
SLOW = 200  # … and for one that asks the scheduler
MARGIN = 20  # seconds for the way there and back
PIECE = 32 << 20  # bytes of a file in one exchange: none outlives its certificate
TRIES = 3  # exchanges in a row that bring a transfer no further
UPLOAD_CHUNK = 1 << 20


T = TypeVar("T")


class ClusterError(Exception):
    """clusters.toml can't be used; the sentence says what to write."""


# ── Where the clusters are ────────────────────────────────────────────────────────────────────────────


def connect_to(name: str) -> "Cluster":
    """The cluster of that name in settings.CLUSTERS_FILE. Opens no connection yet. Raises ClusterError."""
    clusters = read_clusters(Path(settings.CLUSTERS_FILE))
    if name not in clusters:
        raise ClusterError(
            f"{settings.CLUSTERS_FILE} has no [clusters.{name}]; it has: {', '.join(clusters) or 'none'}."
        )
    return clusters[name]


def read_clusters(path: Path) -> dict[str, "Cluster"]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ClusterError(
            f"Can't read the clusters file {path} ({error.strerror}). Set CLUSTERS_FILE to a readable file."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ClusterError(f"{path} is no valid TOML: {error}.") from None
    tables = document.get("clusters")
    if not isinstance(tables, dict):
        raise ClusterError(f"{path} names no cluster. Add a table [clusters.NAME].")
    return {name: _cluster(name, table, path) for name, table in tables.items()}


def _cluster(name: str, table: Any, path: Path) -> "Cluster":
    where = f"{path}, [clusters.{name}]"
    scheduler = _text(table, "scheduler", where)
    if scheduler not in SCHEDULERS:
        raise ClusterError(f"{where}: scheduler must be one of {', '.join(SCHEDULERS)}.")
    nodes = table.get("login_nodes")
    if not isinstance(nodes, list) or not nodes:
        raise ClusterError(
            f"{where}: add at least one [[clusters.{name}.login_nodes]] with host, port, host_key."
        )
    return Cluster(
        name=name,
        scheduler=SCHEDULERS[scheduler](),
        username_prefix=_text(table, "username_prefix", where),
        collector=_text(table, "collector", where),
        admin=_text(table, "admin", where),
        ca_key_file=Path(_text(table, "ca_key_file", where)),
        login_nodes=tuple(_login_node(node, where) for node in nodes),
        root_account=table.get("root_account", ""),
    )


def _login_node(table: Any, where: str) -> LoginNode:
    where = f"{where}.login_nodes"
    key = _text(table, "host_key", where)
    try:
        kind, encoded = key.split()[:2]
        base64.b64decode(encoded, validate=True)
    except (ValueError, binascii.Error):
        raise ClusterError(
            f'{where}: host_key must look like "ssh-ed25519 AAAA…", as ssh-keyscan prints it.'
        ) from None
    port = table.get("port", 22)
    if not isinstance(port, int) or not 0 < port < 65536:
        raise ClusterError(f"{where}: port must be a number from 1 to 65535.")
    return LoginNode(_text(table, "host", where), port, f"{kind} {encoded}")


def _text(table: Any, key: str, where: str) -> str:
    value = table.get(key) if isinstance(table, dict) else None
    if not isinstance(value, str) or not value:
        raise ClusterError(f'{where}: add {key} = "…".')
    return value


@dataclass(frozen=True)
class Cluster:
    """What is known of a cluster beforehand, and the doors to it."""

    name: str
    scheduler: Scheduler
    username_prefix: str  # every POSIX user of the portal's begins so
    collector: str
    admin: str
    ca_key_file: Path = field(repr=False)
    login_nodes: tuple[LoginNode, ...]
    root_account: str = ""  # the account below which the admin may make others; "": the scheduler's own root

    def as_member(self, username: str) -> "Member":
        return Member(self, username)

    def as_collector(self) -> "Collector":
        return Collector(self, self.collector)

    def as_admin(self) -> "Admin":
        return Admin(self, self.admin)


# ── Logging in and asking ─────────────────────────────────────────────────────────────────────────────


class Login:
    """A login as one POSIX user; leaves no connection open behind its `with`. Not for several threads."""

    def __init__(self, cluster: Cluster, username: str) -> None:
        self.cluster = cluster
        self.username = username
        self._session: Session | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._session:
            self._session.close()
            self._session = None

    def session(self, seconds: float) -> Session:
        """A live session that lasts for a call of that many seconds."""
        if self._session and self._session.lasts(seconds):
            return self._session
        self.close()
        self._session = self._log_in()
        return self._session

    def _log_in(self) -> Session:
        try:
            ca_key = load_ca_key(self.cluster.ca_key_file)
        except CaKeyError as error:
            raise ClusterError(str(error)) from None
        for node in self.cluster.login_nodes:
            try:
                return connect(node, mint(ca_key, self.username, datetime.now(UTC)), timeout=CONNECT_SECONDS)
            except Unreachable as error:
                unreachable = error
        raise unreachable

    def ask(self, calls: Sequence[Call], seconds: int = QUICK) -> tuple[list[Answer], datetime]:
        """All calls in one exchange; their answers, and the cluster's time after the last. `seconds`: for all."""
        request = {"v": 1, "budget": seconds, "calls": [asdict(call) for call in calls]}
        deadline = seconds + MARGIN
        done = self.session(deadline).run("run", json.dumps(request).encode(), deadline=deadline)
        document = _document(done.stdout, done.exit)
        try:
            answers = [_answer(result) for result in document["results"]]
            time = datetime.fromtimestamp(document["time"], UTC)
        except (KeyError, TypeError, ValueError, OverflowError):
            raise AnswerError("The gateway's answer can't be understood.", transient=False) from None
        if len(answers) != len(calls):
            raise AnswerError("The gateway answered another number of calls than were sent.", transient=False)
        return answers, time

    def ask_gateway(self, *calls: Call) -> list[dict[str, Any]]:
        """Verbs of the gateway itself, which answer in JSON."""
        answers, _ = self.ask(calls)
        return [_told(call, answer) for call, answer in zip(calls, answers, strict=True)]


def _document(text: bytes, exit_code: int) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or document.get("v") != 1:
        raise AnswerError(f"The gateway gave no answer (exit code {exit_code}).", transient=False)
    if "error" in document:
        raise AnswerError(one_line(str(document["error"])), transient=bool(document.get("transient")))
    return document


def _answer(result: Any) -> Answer:
    exit_code, stdout, stderr = result["exit"], result["stdout"], result["stderr"]
    if not (
        isinstance(stdout, str)
        and isinstance(stderr, str)
        and (exit_code is None or isinstance(exit_code, int))
    ):
        raise TypeError
    return Answer(exit_code, stdout, stderr, bool(result["truncated"]))


def _told(call: Call, answer: Answer) -> dict[str, Any]:
    if answer.exit_code != 0:
        said = one_line(answer.stderr.removeprefix("gateway: "))
        raise AnswerError(f"{call.verb}: {said}", transient=False)
    try:
        document = json.loads(answer.stdout)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise AnswerError(f"The gateway's answer to {call.verb} can't be understood.", transient=False)
    return document


# ── Member: jobs and files of one person ──────────────────────────────────────────────────────────────


class Member(Login):
    """Speaks as the person whose jobs they are."""

    def prepare(self, token: str) -> None:
        """Make the job's folder; it may be there already."""
        self.ask_gateway(Call("prepare", (), token))

    def submit(self, specs: Sequence[JobSpec]) -> list[Submission]:
        """Send all in one exchange; one Submission for each, in order. Their folders and scripts must be there.

        Raises only if surely none was sent. RETRY may be sent again later; UNKNOWN first needs `find`, and
        `forget` when it surely isn't there.
        """
        dialect = self.cluster.scheduler
        self.session(SLOW + MARGIN)  # a login that fails raises here, before anything is sent
        try:
            answers, _ = self.ask([dialect.submit(spec) for spec in specs], SLOW)
        except Unreachable:
            raise
        except (SshError, AnswerError) as error:
            return [Submission(spec.token, Verdict.UNKNOWN, message=str(error)) for spec in specs]
        pairs = zip(specs, answers, strict=True)
        return self._reopened([dialect.read_submission(spec.token, answer) for spec, answer in pairs])

    def _reopened(self, submissions: list[Submission]) -> list[Submission]:
        """What surely wasn't taken leaves no mark behind; if the mark can't be removed, nobody knows."""
        again = [s.token for s in submissions if s.verdict is Verdict.RETRY]
        if not again:
            return submissions
        try:
            self.forget(again)
        except (SshError, AnswerError):
            return [
                Submission(s.token, Verdict.UNKNOWN, message=s.message) if s.verdict is Verdict.RETRY else s
                for s in submissions
            ]
        return submissions

    def forget(self, tokens: Sequence[str]) -> None:
        """Open the way for another submission. Only when queue and accounting have been asked, and are sure."""
        self.ask_gateway(*(Call("forget", (), token) for token in tokens))

    def find(self, tokens: Sequence[str], since: datetime) -> Mapping[str, str]:
        """token → id of those that the queue or the accounting knows. Both answered well, or it raises."""
        dialect, delimiter = self.cluster.scheduler, new_delimiter()
        (recorded, queued), _ = self.ask(
            [dialect.find_in_accounting(tokens, since, delimiter), dialect.find_in_queue(tokens, delimiter)],
            SLOW,
        )
        return {**dialect.read_found(recorded, delimiter), **dialect.read_found(queued, delimiter)}

    def estimate(self, spec: JobSpec) -> datetime | None:
        """When the scheduler would start it; its refusal is an AnswerError in its words."""
        dialect = self.cluster.scheduler
        (answer,), _ = self.ask([dialect.estimate(spec)])
        return dialect.read_estimate(answer)

    def cancel(self, jobs: Sequence[tuple[str, str]]) -> None:
        """(token, scheduler id) of each job to end. That a job did end, its state says later."""
        dialect = self.cluster.scheduler
        answers, _ = self.ask([dialect.cancel(token, job_id) for token, job_id in jobs], SLOW)
        for answer in answers:
            dialect.read_cancel(answer)

    def free_space(self) -> int:
        """Bytes free in the person's home."""
        (told,) = self.ask_gateway(Call("space"))
        return _number(told, "free")

    def upload(
        self, token: str, path: str, source: BinaryIO, size: int, sha256: str, *, executable: bool = False
    ) -> None:
        """Bring a file into the job's folder, going on where an earlier try was cut off. `source` must seek.

        Returns when the cluster has the whole file on disk and its sha256 is right.
        """
        (told,) = self.ask_gateway(Call("offset", (path,), token))
        have, tries = _number(told, "offset"), 0
        header = {
            "token": token,
            "path": path,
            "size": size,
            "sha256": sha256,
            "mode": "700" if executable else "600",
        }
        while tries < TRIES:
            begin = have if have <= size else 0
            source.seek(begin)
            request = json.dumps({**header, "offset": begin}).encode() + b"\n"
            try:
                answer = self._put(request, source)
                if answer.get("complete") is True:
                    return
                have = _number(answer, "offset")
            except Interrupted:
                (told,) = self.ask_gateway(Call("offset", (path,), token))
                have = _number(told, "offset")
            tries = 0 if have > begin else tries + 1
        raise AnswerError(f"The upload of {path} got no further than {have} of {size} bytes.", transient=True)

    def _put(self, request: bytes, source: BinaryIO) -> dict[str, Any]:
        deadline = SLOW + MARGIN
        done = self.session(deadline).run("put", _framed(request, source), deadline=deadline)
        return _document(done.stdout, done.exit)

    def list_files(self, token: str) -> Listing:
        (told,) = self.ask_gateway(Call("list", (), token))
        try:
            files = tuple(
                FileEntry(str(f["path"]), int(f["size"]), datetime.fromtimestamp(f["mtime"], UTC))
                for f in told["files"]
            )
            return Listing(files, int(told["others"]), bool(told["truncated"]))
        except (KeyError, TypeError, ValueError, OverflowError):
            raise AnswerError("The list of files can't be understood.", transient=False) from None

    def tail(self, token: str, path: str, offset: int = -1) -> Tail:
        """At most 256 KiB of a file from `offset` on; -1: its end."""
        (told,) = self.ask_gateway(Call("tail", (path, str(offset)), token))
        try:
            data = base64.b64decode(told["data"], validate=True)
        except (KeyError, TypeError, ValueError):
            raise AnswerError("The end of the file can't be understood.", transient=False) from None
        return Tail(
            _number(told, "size") if told.get("size") is not None else None, _number(told, "offset"), data
        )

    def download(self, token: str, path: str) -> Iterator[bytes]:
        """The bytes of a file as it is at the beginning; a broken connection is taken up where it broke."""
        offset, size, tries = 0, 1, 0
        while offset < size and tries < TRIES:
            begin = offset
            try:
                for now, chunk in self._get(token, path, offset):
                    size, offset = now, offset + len(chunk)
                    yield chunk
            except Interrupted:
                if tries + 1 == TRIES:
                    raise
            tries = 0 if offset > begin else tries + 1
        if offset < size:
            raise AnswerError(f"{path} became shorter while it was fetched.", transient=True)

    def _get(self, token: str, path: str, offset: int) -> Iterator[tuple[int, bytes]]:
        """(size of the file, bytes) for one piece; at least one pair."""
        deadline = SLOW + MARGIN
        request = (
            json.dumps({"token": token, "path": path, "offset": offset, "length": PIECE}).encode() + b"\n"
        )
        chunks = self.session(deadline).stream("get", request, deadline=deadline)
        head = b""
        while b"\n" not in head and (chunk := next(chunks, b"")):
            head += chunk
        line, _, body = head.partition(b"\n")
        size = _number(_document(line, 0), "size")
        yield size, body
        for chunk in chunks:
            yield size, chunk


def _framed(request: bytes, source: BinaryIO) -> Iterator[bytes]:
    yield request
    left = PIECE
    while left and (chunk := source.read(min(UPLOAD_CHUNK, left))):
        left -= len(chunk)
        yield chunk


def _number(told: Mapping[str, Any], key: str) -> int:
    value = told.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise AnswerError(f"The gateway's answer has no sensible {key}.", transient=False)
    return value


# ── Collector: everybody's queue and accounting ───────────────────────────────────────────────────────


@dataclass(frozen=True)
class Poll:
    """A look at the whole cluster. A half that could not be read is None and its trouble says why.

    The accounting is read before the queue: a run that it calls RUNNING and the queue doesn't list has
    lost its end. The queue also lists jobs that ended in the last minutes.
    """

    queue: tuple[QueueEntry, ...] | None
    records: Records | None
    troubles: tuple[AnswerError, ...]
    cluster_time: datetime


class Collector(Login):
    """Reads, and changes nothing."""

    def poll(self, since: datetime, until: datetime) -> Poll:
        """Queue, and every accounting record with any life in [since, until], in one exchange."""
        dialect, delimiter = self.cluster.scheduler, new_delimiter()
        (recorded, queued), time = self.ask(
            [dialect.records(since, until, delimiter), dialect.queue(delimiter)], SLOW
        )
        troubles: list[AnswerError] = []
        records = _or_trouble(lambda: dialect.read_records(recorded, delimiter), troubles)
        queue = _or_trouble(lambda: dialect.read_queue(queued, delimiter), troubles)
        return Poll(queue, records, tuple(troubles), time)


def _or_trouble(read: Callable[[], T], troubles: list[AnswerError]) -> T | None:
    try:
        return read()
    except AnswerError as error:
        troubles.append(error)
        return None


# ── Admin: users and their accounts ───────────────────────────────────────────────────────────────────


class Admin(Login):
    """Asks for POSIX users and makes associations, of the portal's own people and accounts only."""

    def provision(self, username: str) -> None:
        """Ask the centre for a POSIX user; `account_exists` says when there is one."""
        self.ask_gateway(Call("request-user", (username,)))

    def account_exists(self, username: str) -> bool:
        """Whether the POSIX user is there. If the centre refused to make it: an AnswerError in its words."""
        found, said = self.ask_gateway(Call("user-exists", (username,)), Call("user-answer", (username,)))
        if found.get("exists") is True:
            return True
        if said.get("state") == "refused":
            raise AnswerError(one_line(str(said.get("reason", "refused without a reason"))), transient=False)
        return False

    def associate(self, accounts: Sequence[str], username: str) -> None:
        """Let `username` run on the last of `accounts`, each of which lies below the one before. May be repeated."""
        dialect, root = self.cluster.scheduler, self.cluster.root_account
        chain = (root, *accounts) if root else tuple(accounts)
        answers, _ = self.ask(dialect.associate(chain, username), SLOW)
        dialect.read_associated(chain, username, answers)

    def dissociate(self, account: str, username: str) -> None:
        dialect = self.cluster.scheduler
        answers, _ = self.ask(dialect.dissociate(account, username), SLOW)
        dialect.read_dissociated(account, username, answers)
