"""One SSH connection to a login node, and calls on it. The only importer of paramiko.

Contract: the host key is pinned and checked before anything of ours is sent; every call has a total
deadline; whatever goes wrong, the channel and the connection are closed. What went wrong is one of four
things, and no message holds a key or a token:

    Unreachable      nothing was run; another try, or another login node, may help
    Refused          the login itself was refused; trying again won't help
    HostKeyMismatch  this is not the machine that was pinned; never try again, tell staff
    Interrupted      a call was under way: nobody knows what it did
"""

import contextlib
import socket
import threading
import time
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from io import StringIO
from types import TracebackType
from typing import Self

import paramiko

from jobs.credentials import LIFETIME, Credential
from jobs.spec import ClusterError

CONNECT_SECONDS = 10.0
KEEPALIVE_SECONDS = 15
CHUNK = 256 << 10
UNFINISHED = 1  # instead of exit code 0, of a command that went in the middle of a conversation
# A connection outlives its certificate: ours ends before, whatever is going on.
OLDEST = LIFETIME.total_seconds() - 20

KEX = (
    "mlkem768x25519-sha256",
    "curve25519-sha256@libssh.org",
    "ecdh-sha2-nistp256",
    "diffie-hellman-group16-sha512",
)
CIPHERS = ("aes128-ctr", "aes256-ctr", "aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
MACS = ("hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256", "hmac-sha2-512")

LOST = (paramiko.SSHException, EOFError, OSError)  # how paramiko says that the other side is gone


class SshError(ClusterError):
    """A call or a login that failed."""


class Unreachable(SshError):
    """No connection, and nothing was run."""

    transient = True


class Refused(SshError):
    """The login node did not accept the portal's certificate."""


class HostKeyMismatch(SshError):
    """The machine that answered is not the one whose key was pinned."""


class Interrupted(SshError):
    """The connection or the time ran out during a call: its outcome is unknown."""


@dataclass(frozen=True)
class LoginNode:
    host: str
    port: int
    host_key: str  # "ssh-ed25519 AAAA…"

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Completed:
    """What a command left behind: its exit code and both outputs, whole."""

    exit: int
    stdout: bytes
    stderr: bytes


class Session:
    """A live login. Use it as a context manager; it closes on every path."""

    def __init__(self, transport: paramiko.Transport, node: LoginNode) -> None:
        self._transport = transport
        self._node = node
        self.began = time.monotonic()
        self._ends = self.began + OLDEST
        self._conversations: dict[str, _Conversation] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def node(self) -> LoginNode:
        return self._node

    def close(self) -> None:
        self._transport.close()

    def lasts(self, seconds: float) -> bool:
        """Whether a call of that length can be begun: the connection is alive and young enough."""
        return self._transport.is_active() and time.monotonic() + seconds <= self._ends

    def run(
        self,
        command: str,
        stdin: bytes | Iterable[bytes] = b"",
        *,
        deadline: float = 60.0,
        max_output: int = 128 << 20,
    ) -> Completed:
        """Run one command to its end. `deadline`: seconds in all. `max_output`: bytes of each output."""
        with self._exchange(command, stdin, deadline) as exchange:
            out = bytearray()
            for chunk in exchange.output():
                out += chunk
                if len(out) > max_output:
                    raise Interrupted(f"{self._node} sent more than {max_output} bytes to '{command}'.")
            exit_code = exchange.exit_code()
            return Completed(exit_code, bytes(out), exchange.errors())

    def ask(
        self, command: str, line: bytes, *, deadline: float = 60.0, max_output: int = 128 << 20
    ) -> Completed:
        """Say a line to a command that stays, and hear the line that answers it; started with the first question.

        `exit` is 0 as long as it stays. Whatever goes wrong ends it, so that no answer is taken for another's.
        """
        ends = min(time.monotonic() + deadline, self._ends)
        talk = self._conversations.pop(command, None)
        if talk is None or talk.is_over:
            talk = self._begin(command, ends)
        try:
            answer = talk.ask(line, ends, max_output)
        except LOST as error:
            raise Interrupted(f"'{command}' on {self._node} was cut off: {_said(error)}") from None
        else:
            if answer.exit == 0:
                self._conversations[command] = talk
            return answer
        finally:
            if command not in self._conversations:
                talk.close()

    def _begin(self, command: str, ends: float) -> "_Conversation":
        channel = self._open(ends)
        try:
            channel.settimeout(_left(ends))
            channel.exec_command(command)
        except LOST as error:
            channel.close()
            raise Unreachable(f"{self._node} began no '{command}': {_said(error)}") from None
        return _Conversation(channel)

    def stream(
        self, command: str, stdin: bytes | Iterable[bytes] = b"", *, deadline: float = 60.0
    ) -> Generator[bytes, None, None]:
        """Run one command and give its stdout as it comes. Raises Interrupted if it did not end well."""
        with self._exchange(command, stdin, deadline) as exchange:
            yield from exchange.output()
            exit_code = exchange.exit_code()
        if exit_code != 0:
            raise Interrupted(f"'{command}' on {self._node} ended with exit code {exit_code}.")

    @contextlib.contextmanager
    def _exchange(
        self, command: str, stdin: bytes | Iterable[bytes], deadline: float
    ) -> Iterator["_Exchange"]:
        ends = min(time.monotonic() + deadline, self._ends)
        channel = self._open(ends)
        exchange = _Exchange(channel, f"'{command}' on {self._node}", ends)
        try:
            exchange.begin(command, stdin)
            yield exchange
        except LOST as error:
            raise Interrupted(f"{exchange} was cut off: {_said(error)}") from None
        finally:
            exchange.close()

    def _open(self, ends: float) -> paramiko.Channel:
        try:
            return self._transport.open_session(timeout=max(0.1, min(CONNECT_SECONDS, _left(ends))))
        except LOST as error:
            raise Unreachable(f"{self._node} opened no channel: {_said(error)}") from None


class _Conversation:
    """A command that reads a line and writes one, again and again; and next to nothing on its stderr."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel

    @property
    def is_over(self) -> bool:
        return bool(self._channel.closed or self._channel.eof_received)

    def ask(self, line: bytes, ends: float, max_output: int) -> Completed:
        self._channel.settimeout(_left(ends))
        self._channel.sendall(line)
        answer = bytearray()
        while not answer.endswith(b"\n"):
            self._channel.settimeout(_left(ends))
            chunk = self._channel.recv(CHUNK)
            if not chunk:
                return Completed(self._exit_code(ends), bytes(answer), b"")
            answer += chunk
            if len(answer) > max_output:
                raise EOFError(f"more than {max_output} bytes came")
        return Completed(0, bytes(answer), b"")

    def _exit_code(self, ends: float) -> int:
        if not self._channel.status_event.wait(_left(ends)) or self._channel.exit_status < 0:
            raise EOFError("the connection ended before the command did")
        return self._channel.exit_status or UNFINISHED

    def close(self) -> None:
        with contextlib.suppress(*LOST):
            self._channel.close()


class _Exchange:
    """One command under way: stdin and stderr have a thread each, so that no pipe can block another."""

    def __init__(self, channel: paramiko.Channel, name: str, ends: float) -> None:
        self._channel = channel
        self._name = name
        self._ends = ends
        self._errors = bytearray()
        self._trouble: list[BaseException] = []
        self._threads: list[threading.Thread] = []

    def __str__(self) -> str:
        return self._name

    def begin(self, command: str, stdin: bytes | Iterable[bytes]) -> None:
        self._channel.settimeout(_left(self._ends))
        self._channel.exec_command(command)
        chunks = (stdin,) if isinstance(stdin, bytes) else stdin
        for work in (lambda: self._feed(chunks), self._drain_errors):
            thread = threading.Thread(target=work, daemon=True)
            self._threads.append(thread)
            thread.start()

    def _feed(self, chunks: Iterable[bytes]) -> None:
        try:
            for chunk in chunks:
                self._channel.sendall(chunk)
            self._channel.shutdown_write()
        except OSError:
            pass  # the command ended without reading all: what it says tells why
        except BaseException as error:  # the caller's own iterable failed
            self._trouble.append(error)
            self._hang_up()

    def _drain_errors(self) -> None:
        with contextlib.suppress(OSError):
            while chunk := self._channel.recv_stderr(CHUNK):
                self._errors += chunk[: max(0, CHUNK - len(self._errors))]

    def output(self) -> Iterator[bytes]:
        while True:
            self._channel.settimeout(_left(self._ends))
            chunk = self._channel.recv(CHUNK)
            if not chunk:
                return
            yield chunk

    def exit_code(self) -> int:
        if not self._channel.status_event.wait(_left(self._ends)):
            raise TimeoutError
        code = self._channel.exit_status
        if self._trouble:
            raise self._trouble[0]
        if code < 0:
            raise EOFError("the connection ended before the command did")
        return code

    def errors(self) -> bytes:
        self._threads[-1].join(_left(self._ends))
        return bytes(self._errors)

    def _hang_up(self) -> None:
        with contextlib.suppress(*LOST):  # closing says so to the other side, which may be gone
            self._channel.close()

    def close(self) -> None:
        self._hang_up()
        for thread in self._threads:
            thread.join(1.0)


def connect(node: LoginNode, credential: Credential, *, timeout: float = CONNECT_SECONDS) -> Session:
    """Log in. `timeout`: seconds for each of reaching, greeting and logging in."""
    try:
        sock = socket.create_connection((node.host, node.port), timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # paramiko never does: 15 times slower
    except OSError as error:
        raise Unreachable(f"{node} can't be reached: {_said(error)}") from None
    try:
        transport = paramiko.Transport(sock)
    except (paramiko.SSHException, OSError) as error:
        sock.close()
        raise Unreachable(f"{node} can't be reached: {_said(error)}") from None
    try:
        _greet(transport, node, timeout)
        _log_in(transport, node, credential, timeout)
    except BaseException:
        transport.close()
        raise
    transport.set_keepalive(KEEPALIVE_SECONDS)
    return Session(transport, node)


def _greet(transport: paramiko.Transport, node: LoginNode, timeout: float) -> None:
    """Exchange keys, and go no further unless the host is the pinned one."""
    kind, pinned = _host_key(node)
    options = transport.get_security_options()
    options.kex, options.ciphers, options.digests, options.key_types = KEX, CIPHERS, MACS, (kind,)
    transport.banner_timeout = transport.handshake_timeout = timeout
    try:
        transport.start_client(timeout=timeout)
        key = transport.get_remote_server_key()
    except paramiko.ssh_exception.IncompatiblePeer as error:
        if "host key" in str(error):
            raise HostKeyMismatch(f"{node} has no host key of the pinned kind ({kind}).") from None
        raise Unreachable(f"{node} speaks none of the allowed algorithms: {_said(error)}") from None
    except LOST as error:
        raise Unreachable(f"{node} did not greet: {_said(error)}") from None
    if (key.get_name(), key.get_base64()) != (kind, pinned):
        raise HostKeyMismatch(f"The host key of {node} is not the pinned one. Nothing was sent to it.")


def _host_key(node: LoginNode) -> tuple[str, str]:
    kind, _, rest = node.host_key.strip().partition(" ")
    return kind, rest.split(" ")[0]


def _log_in(transport: paramiko.Transport, node: LoginNode, credential: Credential, timeout: float) -> None:
    key = paramiko.Ed25519Key.from_private_key(StringIO(credential.private_key))
    key.load_certificate(credential.certificate)
    transport.auth_timeout = timeout
    try:
        transport.auth_publickey(credential.username, key)
    except paramiko.AuthenticationException as error:
        if not transport.is_active() or "timeout" in str(error).lower():
            raise Unreachable(f"{node} ended the connection during the login.") from None
        raise Refused(f"{node} did not accept the certificate of {credential.username}.") from None
    except LOST as error:
        raise Unreachable(f"{node} ended the connection during the login: {_said(error)}") from None


def _left(ends: float) -> float:
    """Seconds left, never 0 (which would mean "don't wait"); past the end it is a timeout."""
    left = ends - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _said(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
