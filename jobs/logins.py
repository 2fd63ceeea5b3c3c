"""A login on a cluster as one POSIX user, and an exchange with the gateway there: calls in, their answers out.

A login is made with the first call, with a certificate of minutes, or taken from those that are kept open
(`jobs.kept_logins`), and renewed when it is too old; a login node that can't be reached, or is not the pinned one, is
passed over for the next (`jobs.failover`). One on which anything went wrong is closed, and not kept.
"""

import base64
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from jobs import failover, kept_logins
from jobs.credentials import CaKeyError, load_ca_key, mint
from jobs.schedulers import Answer, AnswerError, Call
from jobs.schedulers.slurm import one_line
from jobs.sites import ConfigError, Site
from jobs.spec import ClusterError
from jobs.ssh import (
    CONNECT_SECONDS,
    HostKeyMismatch,
    Interrupted,
    LoginNode,
    Session,
    SshError,
    Unreachable,
    connect,
)

VERSION = 2  # of what is said to the gateway, as it says itself
QUICK = 60  # seconds that the gateway may take for a request about files
SLOW = 200  # for one that asks the scheduler, or carries a piece of a large file
MARGIN = 20  # seconds for the way there and back
PROMPT = 5  # seconds in which a login that was kept has to show that it lives


class GatewayError(AnswerError):
    """The gateway said no, or nothing that can be read."""


class Login:
    """A login as one POSIX user: a session when one is needed. Not for several threads."""

    def __init__(self, site: Site, username: str) -> None:
        self.site = site
        self.username = username
        self._session: Session | None = None

    def close(self) -> None:
        """Log out, or leave the login to the next call of the same person."""
        session, self._session = self._session, None
        if session:
            kept_logins.give_back(self.username, session)

    def discard(self) -> None:
        session, self._session = self._session, None
        if session:
            session.close()

    def session(self, seconds: float) -> Session:
        """A live session that lasts for a call of that many seconds."""
        if self._session and self._session.lasts(seconds):
            return self._session
        self.discard()
        self._session = self._log_in(lambda node: self._kept(node, seconds) or self._connected(node))
        return self._session

    def check(self) -> None:
        """Log in anew, with a certificate of now, and out again: raises what stands in the way."""
        self._log_in(self._connected).close()

    @contextmanager
    def talking(self, seconds: float) -> Iterator[Session]:
        """A session for one call; one that failed is not used again, for it may be half dead."""
        session = self.session(seconds)
        try:
            yield session
        except SshError as error:
            if isinstance(error, Unreachable | Interrupted):
                failover.failed(self.site.name, session.node, error)
            self.discard()
            raise

    def _log_in(self, way_in: Callable[[LoginNode], Session]) -> Session:
        trouble: SshError = HostKeyMismatch(
            "No login node has the host key that was pinned. Nothing was sent to any."
        )
        for node in failover.order(self.site.login_nodes):
            try:
                return way_in(node)
            except (Unreachable, HostKeyMismatch) as error:
                trouble = error
        raise trouble

    def _kept(self, node: LoginNode, seconds: float) -> Session | None:
        while session := kept_logins.take(node, self.username, seconds):
            if _lives(session):
                return session
            session.close()
        return None

    def _connected(self, node: LoginNode) -> Session:
        try:
            ca_key = load_ca_key(self.site.ca_key_file)
        except CaKeyError as error:
            raise ConfigError(str(error)) from None
        try:
            session = connect(node, mint(ca_key, self.username, datetime.now(UTC)), timeout=CONNECT_SECONDS)
        except (Unreachable, HostKeyMismatch) as error:
            failover.failed(self.site.name, node, error)
            raise
        failover.answered(self.site.name, node)
        return session

    def ask(self, calls: Sequence[Call], seconds: int = QUICK) -> tuple[list[Answer], datetime]:
        """All calls in one exchange; their answers, and the cluster's time after the last. `seconds`: for all."""
        deadline = seconds + MARGIN
        with self.talking(deadline) as session:
            done = session.ask("talk", _request(calls, seconds), deadline=deadline)
        try:
            return _answers(document_of(done.stdout, done.exit), len(calls))
        except GatewayError:
            self.discard()
            raise

    def ask_gateway(self, *calls: Call) -> list[dict[str, Any]]:
        """Verbs of the gateway itself, which answer in JSON."""
        answers, _ = self.ask(calls)
        return [_told(call, answer) for call, answer in zip(calls, answers, strict=True)]


def _request(calls: Sequence[Call], seconds: int) -> bytes:
    request = {"v": VERSION, "budget": seconds, "calls": [_said(call) for call in calls]}
    return json.dumps(request).encode() + b"\n"


def _said(call: Call) -> dict[str, Any]:
    said: dict[str, Any] = {"verb": call.verb, "args": call.args, "token": call.token}
    if call.files:
        said["files"] = [
            {
                "path": file.path,
                "mode": "700" if file.executable else "600",
                "sha256": file.sha256,
                "data": base64.b64encode(file.content).decode(),
            }
            for file in call.files
        ]
    return said


def _answers(document: dict[str, Any], count: int) -> tuple[list[Answer], datetime]:
    try:
        answers = [_answer(result) for result in document["results"]]
        time = datetime.fromtimestamp(document["time"], UTC)
    except (KeyError, TypeError, ValueError, OverflowError):
        raise GatewayError("The gateway's answer can't be understood.", transient=False) from None
    if len(answers) != count:
        raise GatewayError("The gateway answered another number of calls than were sent.", transient=False)
    return answers, time


def _lives(session: Session) -> bool:
    """Whether somebody still hears at the other end: better asked now than not known of the call that follows."""
    try:
        done = session.ask("talk", _request((), 0), deadline=PROMPT)
        _answers(document_of(done.stdout, done.exit), 0)
    except ClusterError:
        return False
    return True


def document_of(text: bytes, exit_code: int) -> dict[str, Any]:
    """What the gateway wrote, if it is an answer; else a GatewayError."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    version = document.get("v") if isinstance(document, dict) else None
    if not isinstance(document, dict) or not isinstance(version, int):
        raise GatewayError(f"The gateway gave no answer (exit code {exit_code}).", transient=False)
    if version != VERSION:
        raise GatewayError(
            f"The gateway on the login node is of version {version}, this portal speaks to version {VERSION}: "
            "install the one that came with this portal.",
            transient=False,
        )
    if "error" in document:
        raise GatewayError(one_line(str(document["error"])), transient=bool(document.get("transient")))
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


def count_of(told: Mapping[str, Any], key: str) -> int:
    """What the gateway told of `key`: a whole number, not below zero."""
    value = told.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise AnswerError(f"The gateway's answer has no sensible {key}.", transient=False)
    return value
