"""Keeping files that come in pieces (tus 1.0 is only their language: `jobs.tus`).

What holds, whatever is cut, repeated or sent twice at once:
- the bytes below `offset` in the row are on disk and never written again: the file is written and synced first,
  the row moves afterwards, by an UPDATE that asks for the offset we began at;
- one writer at a time: a lock on the file itself, which ends with its process;
- `sha256` and the last offset are set in one step: a row is complete or it goes on.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q, Sum
from django.utils import timezone
from django.utils.translation import gettext as _

from jobs import paths
from jobs.models import JobFile, Upload
from portal.models import User
from portal.permissions import Permission, check_permission
from portal.words import filesize

if TYPE_CHECKING:
    from hashlib import _Hash

PIECE = 1 << 20  # read at once
STEP = 16 << 20  # synced and entered in the row at once: what a crash can cost
MAX_WAITING = 5_000  # unsent files of a person, of whatever size
HASHERS_KEPT = 64


class Refused(Exception):
    """The upload can't be taken. `sentence` is for the person."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class TooLarge(Refused):
    """Over the limit of one file, or of what a person may keep waiting."""


class InUse(Refused):
    """A job still needs the file."""


class Busy(Exception):
    """Another request is writing this file now."""


class WrongOffset(Exception):
    """The piece does not begin where the file ends."""


class WrongChecksum(Exception):
    """The piece is not what the sender meant; nothing of it was kept."""


@dataclass(frozen=True)
class Checksum:
    """What the sender says of one piece."""

    algorithm: str  # a name of hashlib's
    digest: bytes


def begin(*, by: User, path: str, size: int) -> Upload:
    """A new, empty upload; the person's quota is taken now. Refused or TooLarge with the sentence."""
    check_permission(by, Permission.SUBMIT_JOB)
    try:
        path = paths.clean(path)
    except paths.BadPath as error:
        raise Refused(error.sentence) from error
    if size > settings.UPLOAD_MAX_BYTES:
        raise TooLarge(
            _("“%(path)s” is too large: one file may have %(limit)s.")
            % {"path": paths.shown(path), "limit": filesize(settings.UPLOAD_MAX_BYTES)}
        )
    with transaction.atomic():
        # Two creations at once must not share the last free byte.
        User.objects.select_for_update(no_key=True).get(pk=by.pk)
        _check_quota(by, size)
        upload = Upload(owner=by, path=path, size=size)
        upload.stored_at.parent.mkdir(parents=True, exist_ok=True)
        upload.stored_at.touch()
        upload.save(force_insert=True)
    if not size:
        _advance(upload, 0, hashlib.sha256())
    return upload


def _check_quota(owner: User, size: int) -> None:
    waiting = Upload.objects.filter(owner=owner, expires_at__gt=timezone.now())
    kept = waiting.aggregate(bytes=Sum("size", default=0))["bytes"]
    if kept + size > settings.UPLOAD_QUOTA_BYTES:
        raise TooLarge(
            _(
                "Your uploads that wait for a job would be larger than %(limit)s together. Submit or remove some first."
            )
            % {"limit": filesize(settings.UPLOAD_QUOTA_BYTES)}
        )
    if waiting.count() >= MAX_WAITING:
        raise TooLarge(
            _(
                "You have %(count)s uploads that wait for a job: no more can be kept. Submit or remove some first."
            )
            % {"count": MAX_WAITING}
        )


def append(
    upload: Upload, *, at: int, length: int, read: Callable[[int], bytes], checksum: Checksum | None = None
) -> None:
    """Write the next `length` bytes that `read` gives, from byte `at` on. `upload.offset` says afterwards how far it is.

    A sender that falls silent early leaves what arrived — with a checksum, nothing, since it can't be checked.
    """
    with _sole_writer(upload) as file:
        upload.refresh_from_db(fields=["offset", "sha256"])
        if at != upload.offset:
            raise WrongOffset
        hasher = _hasher_at(upload.pk, at)
        if checksum is None:
            for piece in _pieces(read, length, STEP):
                _write(file, upload, piece, hasher)
        else:
            _write_checked(file, upload, _limited(read, length), length, checksum, hasher)


def _pieces(read: Callable[[int], bytes], length: int, step: int) -> Iterator[Iterator[bytes]]:
    """The stream in steps of about `step` bytes: each is entered in the row by itself."""
    ended = False

    def one_step() -> Iterator[bytes]:
        nonlocal length, ended
        left = min(step, length)
        while left:
            data = read(min(PIECE, left))
            if not data:
                ended = True
                return
            left -= len(data)
            length -= len(data)
            yield data

    while length and not ended:
        yield one_step()


def _limited(read: Callable[[int], bytes], length: int) -> Iterator[bytes]:
    while length and (data := read(min(PIECE, length))):
        length -= len(data)
        yield data


def _write(file: int, upload: Upload, pieces: Iterator[bytes], hasher: _Hash | None) -> None:
    end = upload.offset
    try:
        for data in pieces:
            end += _pwrite(file, data, end)
            if hasher:
                hasher.update(data)
    finally:  # the connection may break in the middle of a step: what arrived counts
        os.fsync(file)
        _advance(upload, end, hasher)


def _write_checked(
    file: int, upload: Upload, pieces: Iterator[bytes], length: int, checksum: Checksum, hasher: _Hash | None
) -> None:
    seen = hashlib.new(checksum.algorithm)
    ahead = hasher.copy() if hasher else None
    end = upload.offset
    for data in pieces:
        end += _pwrite(file, data, end)
        seen.update(data)
        if ahead:
            ahead.update(data)
    if end - upload.offset < length:
        return
    if seen.digest() != checksum.digest:
        raise WrongChecksum
    os.fsync(file)
    _advance(upload, end, ahead)


def _pwrite(file: int, data: bytes, at: int) -> int:
    view = memoryview(data)
    while view:
        written = os.pwrite(file, view, at)
        view, at = view[written:], at + written
    return len(data)


def _advance(upload: Upload, end: int, hasher: _Hash | None) -> None:
    """Enter in the row what is surely on disk."""
    complete = end == upload.size
    sha256 = ""
    if complete:
        sha256 = hasher.hexdigest() if hasher else _hash_of_file(upload)
    moved = Upload.objects.filter(pk=upload.pk, offset=upload.offset, sha256="").update(
        offset=end, sha256=sha256
    )
    if not moved:
        raise WrongOffset
    upload.offset, upload.sha256 = end, sha256
    _keep_hasher(upload.pk, end, None if complete else hasher)


# ── Hashing while streaming ─────────────────────────────────────────────────
# A hasher can't be written down, so it lives in this process between two pieces. Where it is missing (another
# process had the earlier piece, or this one was restarted), the whole file is read once when it is complete.

_hashers: OrderedDict[UUID, tuple[int, _Hash]] = OrderedDict()
_hashers_lock = Lock()


def _hasher_at(pk: UUID, offset: int) -> _Hash | None:
    if offset == 0:
        return hashlib.sha256()
    with _hashers_lock:
        kept = _hashers.pop(pk, None)
    return kept[1] if kept and kept[0] == offset else None


def _keep_hasher(pk: UUID, offset: int, hasher: _Hash | None) -> None:
    with _hashers_lock:
        _hashers.pop(pk, None)
        if hasher:
            _hashers[pk] = (offset, hasher.copy())
        while len(_hashers) > HASHERS_KEPT:
            _hashers.popitem(last=False)


def _hash_of_file(upload: Upload) -> str:
    with upload.stored_at.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ── The file ────────────────────────────────────────────────────────────────


@contextmanager
def _sole_writer(upload: Upload) -> Iterator[int]:
    """The file, open for writing by us alone. Busy if someone else has it."""
    file = os.open(upload.stored_at, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy from None
        yield file
    finally:
        os.close(file)


def head(upload: Upload, count: int) -> bytes:
    """The first `count` bytes of a complete upload."""
    with upload.stored_at.open("rb") as file:
        return file.read(count)


# ── The end of an upload ────────────────────────────────────────────────────


def remove(upload: Upload) -> None:
    """Forget an upload and its file, unless a job still waits for it (InUse)."""
    with transaction.atomic():
        locked = Upload.objects.select_for_update().filter(pk=upload.pk).first()
        if locked is None:
            return
        if _needed(locked):
            raise InUse(_("This file belongs to a job that is not sent yet, so it can't be removed."))
        locked.delete()
    with suppress(FileNotFoundError):
        upload.stored_at.unlink()


def discard_expired() -> int:
    """Remove the uploads that nobody used in time; how many."""
    expired = Upload.objects.filter(expires_at__lte=timezone.now())
    unneeded = expired.exclude(pk__in=JobFile.objects.filter(_UNSENT).values("upload")).iterator()
    count = 0
    for upload in unneeded:
        with suppress(InUse):
            remove(upload)
            count += 1
    return count


_UNSENT = Q(upload__isnull=False, sent_at=None)


def _needed(upload: Upload) -> bool:
    return upload.job_files.filter(_UNSENT).exists()
