"""The connection to a login node, against a real sshd: what comes back, and the four ways in which it fails."""

import hashlib
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from jobs.credentials import Credential, mint
from jobs.ssh import HostKeyMismatch, Interrupted, LoginNode, Refused, Session, SshError, Unreachable, connect
from tests.cluster.one_machine import until
from tests.jobs.login_node import ME, Sshd, Wire, free_port, make_key, public, sshd

SHELL = '/bin/sh -c \\"$SSH_ORIGINAL_COMMAND\\"'
MIB = 1 << 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with sshd(tmp_path_factory.mktemp("sshd"), SHELL) as running:
        yield running


def credential(server: Sshd) -> Credential:
    return mint(server.ca, ME, datetime.now(UTC))


@pytest.fixture
def session(server: Sshd) -> Iterator[Session]:
    with connect(server.node, credential(server)) as live:
        yield live


# ── Calls ────────────────────────────────────────────────────────────────────


def test_it_brings_back_exit_code_and_both_outputs(session: Session) -> None:
    done = session.run("cat; echo grief >&2; exit 3", b"in")
    assert (done.exit, done.stdout, done.stderr) == (3, b"in", b"grief\n")


def test_one_session_carries_many_calls(session: Session) -> None:
    assert [session.run(f"echo {n}").stdout for n in range(20)] == [f"{n}\n".encode() for n in range(20)]


def test_no_pipe_blocks_another(session: Session) -> None:
    sent = (bytes(MIB) for _ in range(16))
    done = session.run("head -c 16777216 /dev/zero >&2; cat; head -c 1048576 /dev/zero >&2", sent)
    assert (done.exit, len(done.stdout)) == (0, 16 * MIB)


def test_it_streams(session: Session) -> None:
    digest = hashlib.sha256()
    for chunk in session.stream("head -c 33554432 /dev/zero"):
        digest.update(chunk)
    assert digest.digest() == hashlib.sha256(bytes(32 * MIB)).digest()


def test_a_stream_that_did_not_end_well_is_told(session: Session) -> None:
    with pytest.raises(Interrupted, match="exit code 4"):
        list(session.stream("echo some; exit 4"))


def test_a_reader_may_stop_early(session: Session) -> None:
    stream = session.stream("cat /dev/zero")
    assert next(stream)
    stream.close()
    assert session.run("echo on").stdout == b"on\n"


def test_a_command_that_reads_nothing_is_no_trouble(session: Session) -> None:
    done = session.run("echo full >&2; exit 1", (bytes(MIB) for _ in range(64)))
    assert (done.exit, done.stderr) == (1, b"full\n")


def test_a_source_that_fails_fails_the_call(session: Session) -> None:
    def broken() -> Iterator[bytes]:
        yield b"some"
        raise KeyError("the file went away")

    with pytest.raises(KeyError, match="went away"):
        session.run("cat", broken())


# ── A command that stays ─────────────────────────────────────────────────────

ECHO = "n=0; while read -r line; do n=$((n+1)); echo $n $line; done"


def test_a_command_that_stays_answers_line_by_line(session: Session) -> None:
    answers = [session.ask(ECHO, f"{word}\n".encode()).stdout for word in ("one", "two")]
    assert answers == [b"1 one\n", b"2 two\n"]


def test_a_long_line_comes_whole(session: Session) -> None:
    line = b"x" * (4 * MIB) + b"\n"
    assert session.ask("cat", line).stdout == line


def test_a_command_that_ends_tells_its_exit_code(session: Session) -> None:
    assert session.ask("exit 4", b"x\n").exit == 4
    assert session.ask("true", b"x\n").exit != 0, "to end without an answer is no success"


def test_one_that_ended_is_begun_anew(session: Session) -> None:
    once = "read -r line; echo $line"
    assert session.ask(once, b"one\n").stdout == b"one\n"
    until(lambda: session._conversations[once].is_over)
    assert session.ask(once, b"two\n").stdout == b"two\n"


def test_after_a_deadline_no_late_answer_is_taken_for_anothers(session: Session) -> None:
    slow = "while read -r line; do sleep 0.$line; echo $line; done"
    assert session.ask(slow, b"1\n").stdout == b"1\n"
    with pytest.raises(Interrupted, match="in time"):
        session.ask(slow, b"9\n", deadline=0.2)
    assert session.ask(slow, b"2\n").stdout == b"2\n"


def test_too_long_an_answer_ends_the_conversation(session: Session) -> None:
    with pytest.raises(Interrupted, match="more than 1000 bytes"):
        session.ask("cat /dev/zero", b"x\n", max_output=1000)


# ── Deadlines ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "command",
    [
        "sleep 30",
        "while sleep 0.05; do echo tick; done",
        "exec >&- 2>&-; sleep 30",
        "cat > /dev/null; sleep 30",
    ],
)
def test_a_deadline_is_for_all_of_a_call(session: Session, command: str) -> None:
    began = time.monotonic()
    with pytest.raises(Interrupted, match="in time"):
        session.run(command, deadline=0.5)
    assert time.monotonic() - began < 5
    assert session.run("echo on").stdout == b"on\n"


def test_too_much_output_ends_the_call(session: Session) -> None:
    with pytest.raises(Interrupted, match="more than 1000 bytes"):
        session.run("cat /dev/zero", max_output=1000)


def test_a_session_knows_how_long_it_lasts(session: Session) -> None:
    assert session.lasts(200) and not session.lasts(300)  # a certificate is good for 300 seconds
    session.close()
    assert not session.lasts(0)


# ── The four failures ────────────────────────────────────────────────────────


def failure(node: LoginNode, made: Credential, timeout: float = 5.0) -> SshError:
    with pytest.raises(SshError) as caught:
        connect(node, made, timeout=timeout).close()
    assert made.certificate.split()[1] not in str(caught.value)
    return caught.value


def test_a_changed_host_key_ends_it_before_the_login(server: Sshd, tmp_path: Path) -> None:
    other = replace(server.node, host_key=public(make_key(tmp_path / "other")))
    before = server.log.count("Postponed publickey") + server.log.count("Accepted")
    error = failure(other, credential(server))
    assert isinstance(error, HostKeyMismatch) and not error.transient
    assert server.log.count("Postponed publickey") + server.log.count("Accepted") == before


def test_a_host_without_the_pinned_kind_of_key_is_another_host(server: Sshd, tmp_path: Path) -> None:
    other = replace(server.node, host_key=public(make_key(tmp_path / "other", "ecdsa")))
    assert isinstance(failure(other, credential(server)), HostKeyMismatch)


def test_nobody_listening_is_unreachable(server: Sshd) -> None:
    error = failure(replace(server.node, port=free_port()), credential(server))
    assert isinstance(error, Unreachable) and error.transient


def test_a_name_that_is_none_is_unreachable(server: Sshd) -> None:
    assert isinstance(
        failure(replace(server.node, host="no-such-host.invalid"), credential(server)), Unreachable
    )


def test_a_server_that_says_nothing_is_unreachable(server: Sshd) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        began = time.monotonic()
        error = failure(replace(server.node, port=silent.getsockname()[1]), credential(server), timeout=0.5)
    assert isinstance(error, Unreachable)
    assert time.monotonic() - began < 10


def test_a_server_that_hangs_up_is_unreachable(server: Sshd) -> None:
    with Wire(server.port, cut_after=0) as wire:
        assert isinstance(failure(replace(server.node, port=wire.port), credential(server)), Unreachable)


@pytest.mark.parametrize(
    "made",
    [
        lambda ca: mint(Ed25519PrivateKey.generate(), ME, datetime.now(UTC)),
        lambda ca: mint(ca, ME, datetime.now(UTC) - timedelta(hours=1)),
        lambda ca: mint(ca, ME, datetime.now(UTC) + timedelta(hours=1)),
        lambda ca: replace(mint(ca, "somebody", datetime.now(UTC)), username=ME),
        lambda ca: mint(ca, "nosuchuser", datetime.now(UTC)),
    ],
    ids=["foreign CA", "expired", "not yet valid", "another's", "no such user"],
)
def test_a_certificate_that_does_not_fit_is_refused(server: Sshd, made: object) -> None:
    assert callable(made)
    error = failure(server.node, made(server.ca))
    assert isinstance(error, Refused) and not error.transient


def test_a_cut_connection_leaves_the_outcome_unknown(server: Sshd) -> None:
    with (
        Wire(server.port) as wire,
        connect(replace(server.node, port=wire.port), credential(server)) as session,
    ):
        stream = session.stream("echo begun; sleep 30")
        assert next(stream) == b"begun\n"
        wire.cut()
        with pytest.raises(Interrupted):
            next(stream)
        assert not session.lasts(0)
        with pytest.raises(Unreachable):
            session.run("true")
