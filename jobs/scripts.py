"""Whether a file can be run as a job's script. Refused with the sentence that mends it; what is only worth knowing is a note."""

from __future__ import annotations

from dataclasses import dataclass, replace

from django.utils.translation import gettext as _

from jobs import directives, uploads
from jobs.directives import Directives
from jobs.models import Upload

MAX_BYTES = 1 << 20


class BadScript(Exception):
    """The file can't be run as a script. `sentence` is for the person."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


@dataclass(frozen=True)
class Script:
    """A script that can be run: what it says to the scheduler, and what is worth knowing about it."""

    directives: Directives
    notes: tuple[str, ...] = ()


def examine(upload: Upload) -> Script:
    """Read a complete upload as a script, or BadScript."""
    if upload.size > MAX_BYTES:
        raise BadScript(
            _(
                "A script may have 1 MiB; this file is larger. Send your data as further files beside the script."
            )
        )
    script = examine_bytes(uploads.head(upload, MAX_BYTES))
    return replace(script, notes=(*script.notes, *_of_place(upload.path)))


def examine_bytes(content: bytes) -> Script:
    if not content.strip():
        raise BadScript(_("The script is empty."))
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise BadScript(_("The script is saved as UTF-16. Save it as UTF-8 and upload it again."))
    if b"\0" in content:
        raise BadScript(
            _(
                "This is not a text file, so it can't be run as a script. Write a script that starts your program."
            )
        )
    if b"\r" in content:
        raise BadScript(
            _(
                "The script has Windows line ends, which Linux takes for part of each command. Convert it (dos2unix) and upload it again."
            )
        )
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise BadScript(_("The script is not UTF-8 text. Save it as UTF-8 and upload it again.")) from error
    notes = () if text.startswith("#!") else (_("The script does not begin with “#!”, so bash will run it."),)
    if text.startswith("\N{ZERO WIDTH NO-BREAK SPACE}"):
        raise BadScript(
            _(
                "The script begins with an invisible mark (UTF-8 BOM). Save it without BOM and upload it again."
            )
        )
    found = directives.read(content[: directives.READ_BYTES].decode(errors="ignore"))
    if found.counts_from_1:
        notes = (
            *notes,
            _(
                "The script counts its tasks from 1. Here they are counted from 0: where it says SLURM_ARRAY_TASK_ID, let it add 1."
            ),
        )
    return Script(found, notes)


def _of_place(path: str) -> tuple[str, ...]:
    """A script in a folder finds its neighbours only if it goes there: the job starts on top."""
    folder, slash, _name = path.rpartition("/")
    if not slash:
        return ()
    return (
        _(
            "The script lies in the folder “%(folder)s”, but the job starts above it. If it needs files beside it, "
            "begin it with: %(cd)s"
        )
        % {"folder": folder, "cd": 'cd "$(dirname "$0")"'},
    )
