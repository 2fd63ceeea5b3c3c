"""Which file names a job may have. A name is refused with the sentence that says why; the gateway asks the same again."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from django.utils.translation import gettext as _

MAX_DEPTH = 16  # parts, the file's own name included
MAX_PART_BYTES = 200
MAX_PATH = 1000  # characters: what the database keeps
LOGS = re.compile(
    r"std(out|err)(-[0-9]+)?\.log", re.ASCII
)  # where the output of a job goes, or of a sweep's tasks
DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)


class BadPath(Exception):
    """The name is not allowed. `sentence` is for the person."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


def clean(path: str) -> str:
    """The path as it is kept (NFC, "/" between its parts), or BadPath."""
    tidy = unicodedata.normalize("NFC", path)
    if len(tidy) > MAX_PATH:
        raise BadPath(_("This name is too long: a path may have %(count)s characters.") % {"count": MAX_PATH})
    parts = tidy.split("/")
    if len(parts) > MAX_DEPTH:
        raise BadPath(
            _("“%(path)s” lies too deep: %(count)s folders at most.")
            % {"path": shown(tidy), "count": MAX_DEPTH - 1}
        )
    for part in parts:
        _check_part(part, tidy)
    if LOGS.fullmatch(tidy.casefold()):
        raise BadPath(
            _("“%(path)s” is where the job's own output goes. Please give the file another name.")
            % {"path": tidy}
        )
    return tidy


def check_together(paths: Iterable[str]) -> None:
    """BadPath if two files of one job would get in each other's way on some disk: twins, or a file that is also a folder."""
    files: dict[str, str] = {}
    folders: dict[str, str] = {}
    for path in paths:
        key = path.casefold()
        if key in files:
            raise BadPath(
                _(
                    "“%(one)s” and “%(other)s” differ only in upper and lower case, or not at all. Keep one of them."
                )
                % {"one": files[key], "other": path}
            )
        files[key] = path
        parts = key.split("/")
        folders |= {"/".join(parts[:depth]): path for depth in range(1, len(parts))}
    for key in files.keys() & folders.keys():
        raise BadPath(
            _("“%(file)s” is a file, and also the folder of “%(other)s”. Please rename one.")
            % {"file": files[key], "other": folders[key]}
        )


def shown(path: str) -> str:
    """The path for a sentence: nothing invisible, nothing that turns the line around, not endless."""
    visible = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in path)
    return visible if len(visible) <= 80 else f"{visible[:79]}…"


def _check_part(part: str, path: str) -> None:
    reason = _reason(part)
    if reason:
        raise BadPath(
            _("“%(path)s” can't be used as a file name: %(reason)s.")
            % {"path": shown(path), "reason": reason}
        )


def _reason(part: str) -> str:
    if not part:
        return _("a part of it is empty")
    if part in (".", ".."):
        return _("“.” and “..” are not names")
    if part[0] in "-.~":
        return _("no part may begin with “%(first)s”") % {"first": part[0]}
    if not part.isprintable():
        return _("it has characters that can't be seen")
    if "\\" in part or ":" in part:
        return _("“\\” and “:” are not allowed")
    if part != part.strip() or part.endswith("."):
        return _("no part may begin or end with a blank, or end with a dot")
    if DEVICES.fullmatch(part):
        return _("some systems take “%(part)s” for a device") % {"part": part}
    if len(part.encode()) > MAX_PART_BYTES:
        return _("a part of it is longer than %(count)s bytes") % {"count": MAX_PART_BYTES}
    return ""
