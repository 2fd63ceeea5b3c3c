"""A file on its way to a job's folder or back: in pieces, each one exchange, going on where a connection broke."""

import json
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from jobs.logins import MARGIN, SLOW, Login, count_of, document_of
from jobs.schedulers import AnswerError, Call
from jobs.ssh import Interrupted

PIECE = 32 << 20  # bytes of a file in one exchange: none outlives its certificate
TRIES = 3  # exchanges in a row that bring a transfer no further
UPLOAD_CHUNK = 1 << 20


class FileRefused(AnswerError):
    """The cluster will not have this file, or has no room for it; the sentence says why."""


def upload(
    login: Login,
    token: str,
    path: str,
    source: BinaryIO,
    size: int,
    sha256: str,
    *,
    executable: bool,
    progress: Callable[[int], None],
) -> None:
    """Bring `source`, which must seek, into the job's folder as `path`.

    Returns when the cluster has the whole file on disk and its sha256 is right. `progress` hears the bytes that are
    there, every PIECE. Raises FileRefused if the cluster won't have it.
    """
    header = {
        "token": token,
        "path": path,
        "size": size,
        "sha256": sha256,
        "mode": "700" if executable else "600",
    }
    tries, have = 0, _offset(login, token, path)
    while tries < TRIES:
        begin = have if have <= size else 0
        source.seek(begin)
        try:
            answer = _put(login, {**header, "offset": begin}, source)
            have = count_of(answer, "offset")
            progress(have)
            if answer.get("complete") is True:
                return
        except Interrupted:
            have = _offset(login, token, path)
        tries = 0 if have > begin else tries + 1
    raise AnswerError(f"The upload of {path} got no further than {have} of {size} bytes.", transient=True)


def download(login: Login, token: str, path: str) -> Iterator[bytes]:
    """The bytes of a file, as they come."""
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


def _offset(login: Login, token: str, path: str) -> int:
    (told,) = login.ask_gateway(Call("offset", (path,), token))
    return count_of(told, "offset")


def _put(login: Login, header: dict[str, Any], source: BinaryIO) -> dict[str, Any]:
    deadline = SLOW + MARGIN
    with login.talking(deadline) as session:
        done = session.run("put", _framed(header, source), deadline=deadline)
    try:
        return document_of(done.stdout, done.exit)
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
        size = count_of(document_of(line, 0), "size")
        yield size, body
        for chunk in chunks:
            yield size, chunk
