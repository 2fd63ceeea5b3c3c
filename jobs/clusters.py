"""One object that speaks for a cluster: where it is (clusters.toml), its dialect, and a login for each role.

    with connect_to("firefly") as door:
        submissions = door.submit("fp-ada", specs)

Contract. A method tells what the cluster said or raises a ClusterError, whose `transient` says whether the
same, later, may succeed. None ever means that a job has ended or isn't there. Interrupted: nobody knows what
the call did. A login is made with the first call, with a certificate of minutes, kept for the next one of the
same person, and renewed when it is too old; a login node that can't be reached is passed over for the next.
"""

import base64
import binascii
import json
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from django.conf import settings

from jobs.credentials import CaKeyError, load_ca_key, mint
from jobs.schedulers import Answer, AnswerError, Call, Records, Scheduler, new_delimiter
from jobs.schedulers.slurm import Slurm, one_line
from jobs.spec import ClusterError, FileEntry, JobSpec, Listing, QueueEntry, Submission, Tail, Verdict
from jobs.ssh import CONNECT_SECONDS, Interrupted, LoginNode, Session, SshError, Unreachable, connect

SCHEDULERS: Mapping[str, Callable[[], Scheduler]] = {"slurm": Slurm}

QUICK = 60  # seconds that the gateway may take for a request about files
SLOW = 200  # … and for one that asks the scheduler
MARGIN = 20  # seconds for the way there and back
PIECE = 32 << 20  # bytes of a file in one exchange: none outlives its certificate
TRIES = 3  # exchanges in a row that bring a transfer no further
UPLOAD_CHUNK = 1 << 20


class ConfigError(ClusterError):
    """clusters.toml can't be used; the sentence says what to write."""


class FileRefused(AnswerError):
    """The cluster will not have this file, or has no room for it; the sentence says why."""


# ── Where the clusters are ────────────────────────────────────────────────────────────────────────────


def connect_to(name: str) -> "Door":
    """The cluster of that name in settings.CLUSTERS_FILE. Opens no connection yet. Raises ConfigError."""
    clusters = read_clusters(Path(settings.CLUSTERS_FILE))
    if name not in clusters:
        raise ConfigError(
            f"{settings.CLUSTERS_FILE} has no [clusters.{name}]; it has: {', '.join(clusters) or 'none'}."
        )
    return Door(clusters[name])


def read_clusters(path: Path) -> dict[str, "Site"]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"Can't read the clusters file {path} ({error.strerror}). Set CLUSTERS_FILE to a readable file."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no valid TOML: {error}.") from None
    tables = document.get("clusters")
    if not isinstance(tables, dict):
        raise ConfigError(f"{path} names no cluster. Add a table [clusters.NAME].")
    return {name: _cluster(name, table, path) for name, table in tables.items()}


def _cluster(name: str, table: Any, path: Path) -> "Site":
    where = f"{path}, [clusters.{name}]"
    scheduler = _text(table, "scheduler", where)
    if scheduler not in SCHEDULERS:
        raise ConfigError(f"{where}: scheduler must be one of {', '.join(SCHEDULERS)}.")
    nodes = table.get("login_nodes")
    if not isinstance(nodes, list) or not nodes:
        raise ConfigError(
            f"{where}: add at least one [[clusters.{name}.login_nodes]] with host, port, host_key."
        )
    return Site(
        name=name,
        scheduler=SCHEDULERS[scheduler](),
        username_prefix=_text(table, "username_prefix", where),
        collector=_text(table, "collector", where),
        admin=_text(table, "admin", where),
        ca_key_file=Path(_text(table, "ca_key_file", where)),
        login_nodes=tuple(_login_node(node, where) for node in nodes),
        root_account=_text(table, "root_account", where) if "root_account" in table else "",
    )


def _login_node(table: Any, where: str) -> LoginNode:
    where = f"{where}.login_nodes"
    key = _text(table, "host_key", where)
    try:
        kind, encoded = key.split()[:2]
        base64.b64decode(encoded, validate=True)
    except (ValueError, binascii.Error):
        raise ConfigError(
            f'{where}: host_key must look like "ssh-ed25519 AAAA…", as ssh-keyscan prints it.'
        ) from None
    port = table.get("port", 22)
    if not isinstance(port, int) or not 0 < port < 65536:
        raise ConfigError(f"{where}: port must be a number from 1 to 65535.")
    return LoginNode(_text(table, "host", where), port, f"{kind} {encoded}")


def _text(table: Any, key: str, where: str) -> str:
    value = table.get(key) if isinstance(table, dict) else None
    if not isinstance(value, str) or not value:
        raise ConfigError(f'{where}: add {key} = "…".')
    return value


@dataclass(frozen=True)
class Site:
    """What is known of a cluster beforehand."""

    name: str
    scheduler: Scheduler
    username_prefix: str  # every POSIX user of the portal's begins so
    collector: str
    admin: str
    root_account: str  # the account below which the admin may make others; "": the scheduler's own root
    ca_key_file: Path = field(repr=False)
    login_nodes: tuple[LoginNode, ...]


# ── Logging in and asking ─────────────────────────────────────────────────────────────────────────────


class Login:
    """A login as one POSIX user: a session when one is needed. Not for several threads."""

    def __init__(self, site: Site, username: str) -> None:
        self.site = site
        self.username = username
        self._session: Session | None = None

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

    @contextmanager
    def talking(self, seconds: float) -> Iterator[Session]:
        """A session for one call; one that failed is not used again, for it may be half dead."""
        session = self.session(seconds)
        try:
            yield session
        except SshError:
            self.close()
            raise

    def _log_in(self) -> Session:
        try:
            ca_key = load_ca_key(self.site.ca_key_file)
        except CaKeyError as error:
            raise ConfigError(str(error)) from None
        for node in self.site.login_nodes:
            try:
                return connect(node, mint(ca_key, self.username, datetime.now(UTC)), timeout=CONNECT_SECONDS)
            except Unreachable as error:
                unreachable = error
        raise unreachable

    def ask(self, calls: Sequence[Call], seconds: int = QUICK) -> tuple[list[Answer], datetime]:
        """All calls in one exchange; their answers, and the cluster's time after the last. `seconds`: for all."""
        request = {"v": 1, "budget": seconds, "calls": [asdict(call) for call in calls]}
        deadline = seconds + MARGIN
        with self.talking(deadline) as session:
            done = session.run("run", json.dumps(request).encode(), deadline=deadline)
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


# ── The door ──────────────────────────────────────────────────────────────────────────────────────────


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
        self.close()

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

    # Jobs of one person

    def prepare(self, username: str, token: str) -> None:
        """Make the job's folder; it may be there already."""
        self._as(username).ask_gateway(Call("prepare", (), token))

    def submit(self, username: str, specs: Sequence[JobSpec]) -> list[Submission]:
        """Send all in one exchange; one Submission for each, in order. Their folders and scripts must be there.

        Raises only if surely none was sent. RETRY may be sent again later; UNKNOWN first needs `find`, and
        `forget` when it surely isn't there.
        """
        dialect, login = self.site.scheduler, self._as(username)
        calls = [dialect.submit(spec) for spec in specs]
        login.session(SLOW + MARGIN)  # a login that fails raises here, before anything is sent
        try:
            answers, _ = login.ask(calls, SLOW)
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
        return _number(told, "free")

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
        login, tries = self._as(username), 0
        mode = "700" if executable else "600"
        header = {"token": token, "path": path, "size": size, "sha256": sha256, "mode": mode}
        have = self._offset(login, token, path)
        while tries < TRIES:
            begin = have if have <= size else 0
            source.seek(begin)
            try:
                answer = _put(login, {**header, "offset": begin}, source)
                have = _number(answer, "offset")
                progress(have)
                if answer.get("complete") is True:
                    return
            except Interrupted:
                have = self._offset(login, token, path)
            tries = 0 if have > begin else tries + 1
        raise AnswerError(f"The upload of {path} got no further than {have} of {size} bytes.", transient=True)

    def _offset(self, login: Login, token: str, path: str) -> int:
        (told,) = login.ask_gateway(Call("offset", (path,), token))
        return _number(told, "offset")

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
        size = None if told.get("size") is None else _number(told, "size")
        return Tail(size, _number(told, "offset"), data)

    def download(self, username: str, token: str, path: str) -> Iterator[bytes]:
        """The bytes of a file, as they come; a broken connection is taken up where it broke."""
        login = self._as(username)
        offset, size, tries = 0, 1, 0
        while offset < size:
            begin = offset
            try:
                for now, chunk in _get(login, token, path, offset):
                    size, offset = now, offset + len(chunk)
                    if chunk:
                        yield chunk
            except Interrupted:
                if tries + 1 >= TRIES:
                    raise
            tries = 0 if offset > begin else tries + 1
            if tries >= TRIES:
                raise AnswerError(f"{path} became shorter while it was fetched.", transient=True)

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

    # Users and their accounts

    def account_exists(self, username: str) -> bool:
        """Whether the POSIX user is there. If the centre refused to make it: an AnswerError in its words."""
        calls = (Call("user-exists", (username,)), Call("user-answer", (username,)))
        found, said = self._as(self.site.admin).ask_gateway(*calls)
        if found.get("exists") is True:
            return True
        if said.get("state") == "refused":
            raise AnswerError(one_line(str(said.get("reason", "refused without a reason"))), transient=False)
        return False

    def provision(self, username: str) -> None:
        """Ask the centre for the POSIX user; `account_exists` says when there is one. Asking twice is asking once."""
        self._as(self.site.admin).ask_gateway(Call("request-user", (username,)))

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
            raise AnswerError(f"{username} could not be put into {accounts[-1]}: {said}", transient=True)

    def dissociate(self, username: str, account: str) -> None:
        """Let `username` run on `account` no longer. May be repeated."""
        dialect = self.site.scheduler
        answers, _ = self._as(self.site.admin).ask(dialect.dissociate(account, username), SLOW)
        dialect.read_dissociated(account, username, answers)


def _put(login: Login, header: dict[str, Any], source: BinaryIO) -> dict[str, Any]:
    deadline = SLOW + MARGIN
    with login.talking(deadline) as session:
        done = session.run("put", _framed(header, source), deadline=deadline)
    try:
        return _document(done.stdout, done.exit)
    except AnswerError as error:
        if done.exit == 1:
            raise FileRefused(str(error), transient=error.transient) from None
        raise


def _framed(header: dict[str, Any], source: BinaryIO) -> Iterator[bytes]:
    yield json.dumps(header).encode() + b"\n"
    left = PIECE
    while left and (chunk := source.read(min(UPLOAD_CHUNK, left))):
        left -= len(chunk)
        yield chunk


def _get(login: Login, token: str, path: str, offset: int) -> Iterator[tuple[int, bytes]]:
    """(size of the file, bytes) for one piece; at least one pair."""
    deadline = SLOW + MARGIN
    request = json.dumps({"token": token, "path": path, "offset": offset, "length": PIECE}).encode() + b"\n"
    with login.talking(deadline) as session:
        chunks = session.stream("get", request, deadline=deadline)
        head = b""
        while b"\n" not in head and (chunk := next(chunks, b"")):
            head += chunk
        line, _, body = head.partition(b"\n")
        size = _number(_document(line, 0), "size")
        yield size, body
        for chunk in chunks:
            yield size, chunk


def _file_entry(file: Mapping[str, Any]) -> FileEntry:
    return FileEntry(str(file["path"]), int(file["size"]), datetime.fromtimestamp(file["mtime"], UTC))


def _number(told: Mapping[str, Any], key: str) -> int:
    value = told.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise AnswerError(f"The gateway's answer has no sensible {key}.", transient=False)
    return value
