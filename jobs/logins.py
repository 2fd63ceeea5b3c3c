"""A login on a cluster as one POSIX user, and an exchange with the gateway there: calls in, their answers out.

A login is made with the first call, with a certificate of minutes, kept for the next one of the same person, and
renewed when it is too old; a login node that can't be reached, or is not the pinned one, is passed over for the next
(`jobs.failover`).
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from jobs import failover
from jobs.credentials import CaKeyError, load_ca_key, mint
from jobs.schedulers import Answer, AnswerError, Call
from jobs.schedulers.slurm import one_line
from jobs.sites import ConfigError, Site
from jobs.ssh import CONNECT_SECONDS, HostKeyMismatch, Interrupted, Session, SshError, Unreachable, connect

QUICK = 60  # seconds that the gateway may take for a request about files
MARGIN = 20  # seconds for the way there and back


class GatewayError(AnswerError):
    """The gateway said no, or nothing that can be read."""


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
        except SshError as error:
            if isinstance(error, Unreachable | Interrupted):
                failover.failed(self.site.name, session.node, error)
            self.close()
            raise

    def _log_in(self) -> Session:
        try:
            ca_key = load_ca_key(self.site.ca_key_file)
        except CaKeyError as error:
            raise ConfigError(str(error)) from None
        trouble: SshError = HostKeyMismatch(
            "No login node has the host key that was pinned. Nothing was sent to any."
        )
        for node in failover.order(self.site.login_nodes):
            try:
                session = connect(
                    node, mint(ca_key, self.username, datetime.now(UTC)), timeout=CONNECT_SECONDS
                )
            except (Unreachable, HostKeyMismatch) as error:
                failover.failed(self.site.name, node, error)
                trouble = error
            else:
                failover.answered(self.site.name, node)
                return session
        raise trouble

    def ask(self, calls: Sequence[Call], seconds: int = QUICK) -> tuple[list[Answer], datetime]:
        """All calls in one exchange; their answers, and the cluster's time after the last. `seconds`: for all."""
        request = {"v": 1, "budget": seconds, "calls": [asdict(call) for call in calls]}
        deadline = seconds + MARGIN
        with self.talking(deadline) as session:
            done = session.run("run", json.dumps(request).encode(), deadline=deadline)
        document = document_of(done.stdout, done.exit)
        try:
            answers = [_answer(result) for result in document["results"]]
            time = datetime.fromtimestamp(document["time"], UTC)
        except (KeyError, TypeError, ValueError, OverflowError):
            raise GatewayError("The gateway's answer can't be understood.", transient=False) from None
        if len(answers) != len(calls):
            raise GatewayError(
                "The gateway answered another number of calls than were sent.", transient=False
            )
        return answers, time

    def ask_gateway(self, *calls: Call) -> list[dict[str, Any]]:
        """Verbs of the gateway itself, which answer in JSON."""
        answers, _ = self.ask(calls)
        return [_told(call, answer) for call, answer in zip(calls, answers, strict=True)]


def document_of(text: bytes, exit_code: int) -> dict[str, Any]:
    """What the gateway wrote, if it is an answer; else a GatewayError."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or document.get("v") != 1:
        raise GatewayError(f"The gateway gave no answer (exit code {exit_code}).", transient=False)
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
