"""PDFs that come beside a request: taken in pieces, never larger than allowed, and looked through before they are kept.

A PDF is refused if it can't be read, is encrypted, has no page, or would do something when opened (JavaScript, starting
a program): reviewers open these files.
"""

from __future__ import annotations

import hashlib
import os
import time
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.files.uploadhandler import SkipFile, TemporaryFileUploadHandler
from django.utils.translation import gettext as _
from pypdf import PdfReader
from pypdf.generic import ArrayObject, DictionaryObject, IndirectObject

from portal.words import filesize

CHUNK = 64 * 1024
MAX_OBJECTS = 100_000
MAX_DEPTH = 50
PATIENCE = 10  # seconds for looking through one file
MAX_NAME = 200
ACTIVE_TYPES = frozenset({"/JavaScript", "/Launch"})
ACTIVE_KEYS = frozenset({"/JavaScript", "/JS"})


class NoLargerThanAttachments(TemporaryFileUploadHandler):
    """Files of a form go to the disk piece by piece; one that is too large is dropped when that is seen, not at its end."""

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        if start + len(raw_data) > settings.ATTACHMENT_MAX_BYTES:
            self.file.close()
            raise SkipFile
        super().receive_data_chunk(raw_data, start)


@dataclass(frozen=True)
class Received:
    """A file that is here and was looked through, not yet in its place."""

    path: Path
    size: int
    sha256: str
    pages: int


def receive(chunks: Iterable[bytes]) -> Received:
    """Write a file's content aside and look through it. Raises ValidationError with the sentence that says why not."""
    settings.ATTACHMENT_ROOT.mkdir(parents=True, exist_ok=True)
    path: Path = settings.ATTACHMENT_ROOT / f"{uuid4()}.part"
    try:
        with path.open("xb") as file:
            size, sha256 = _write(chunks, file)
        with path.open("rb") as file:
            pages = check_pdf(file)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return Received(path, size, sha256, pages)


def _write(chunks: Iterable[bytes], file: IO[bytes]) -> tuple[int, str]:
    size, digest = 0, hashlib.sha256()
    for chunk in chunks:
        size += len(chunk)
        if size > settings.ATTACHMENT_MAX_BYTES:
            raise ValidationError(too_large())
        digest.update(chunk)
        file.write(chunk)
    file.flush()
    os.fsync(file.fileno())
    return size, digest.hexdigest()


def too_large() -> str:
    return _("This file is too large. An attachment may have %(most)s.") % {
        "most": filesize(settings.ATTACHMENT_MAX_BYTES)
    }


def choose_pdf() -> str:
    """What to say where no file came, or one that was dropped because it was too large."""
    return _("Choose a PDF of at most %(most)s.") % {"most": filesize(settings.ATTACHMENT_MAX_BYTES)}


def pieces(file: IO[bytes]) -> Iterator[bytes]:
    while chunk := file.read(CHUNK):
        yield chunk


def check_pdf(file: IO[bytes]) -> int:
    """The number of pages. Raises ValidationError."""
    if file.read(5) != b"%PDF-":
        raise ValidationError(_("This is no PDF. Save the document as PDF and attach that."))
    file.seek(0)
    try:
        return _look_through(PdfReader(file, strict=False))
    except ValidationError:
        raise
    except Exception as error:  # a broken PDF can break the reader anywhere
        raise ValidationError(_("This PDF can't be read. Save it anew and attach that.")) from error


def _look_through(reader: PdfReader) -> int:
    if reader.is_encrypted:
        raise ValidationError(_("This PDF is encrypted. Attach one that opens without a password."))
    pages = len(reader.pages)
    if not pages:
        raise ValidationError(_("This PDF has no page."))
    if any(_is_active(thing) for thing in _objects(reader)):
        raise ValidationError(
            _("This PDF contains scripts, or starts programs. Print it to a PDF and attach that.")
        )
    return pages


def _objects(reader: PdfReader) -> Iterator[Any]:
    """Every object of the file, however it is hidden."""
    numbers = {
        (number, generation) for generation, known in reader.xref.items() for number in known if number
    } | {(number, 0) for number in reader.xref_objStm}
    if len(numbers) > MAX_OBJECTS:
        raise ValidationError(
            _("This PDF is too intricate to be checked. Print it to a PDF and attach that.")
        )
    until = time.monotonic() + PATIENCE
    for number, generation in sorted(numbers):
        if time.monotonic() > until:
            raise ValidationError(
                _("This PDF is too intricate to be checked. Print it to a PDF and attach that.")
            )
        yield reader.get_object(IndirectObject(number, generation, reader))
    yield reader.trailer


def _is_active(thing: Any, depth: int = 0) -> bool:
    """Whether an object, or one directly inside of it, does something when the document is opened."""
    if depth > MAX_DEPTH:
        return True  # nobody nests so deep by chance
    if isinstance(thing, DictionaryObject):
        if thing.keys() & ACTIVE_KEYS or ("/S" in thing and str(thing["/S"]) in ACTIVE_TYPES):
            return True
        return any(_is_active(inner, depth + 1) for inner in dict.values(thing))
    if isinstance(thing, ArrayObject):
        return any(_is_active(inner, depth + 1) for inner in list.__iter__(thing))
    return False


def clean_name(name: str) -> str:
    """A name to show and to save under: one line, nothing invisible, no path, ending in .pdf."""
    tidy = unicodedata.normalize("NFC", name).replace("\\", "/").rpartition("/")[2]
    tidy = "".join(c for c in tidy if c.isprintable() and c not in '<>:"|?*').strip().lstrip("-.~").strip()
    stem = tidy[:-4] if tidy.casefold().endswith(".pdf") else tidy
    while len(f"{stem}.pdf".encode()) > MAX_NAME:
        stem = stem[:-1]
    return f"{stem.strip() or 'attachment'}.pdf"
