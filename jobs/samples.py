"""Ready jobs to begin with: a folder of files each, put among a person's uploads as if they had sent them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from jobs import uploads
from jobs.models import Upload
from portal.models import User

FOLDER = Path(__file__).resolve().parent / "samples"


@dataclass(frozen=True)
class Sample:
    key: str  # the folder's name
    title: str | Promise
    text: str | Promise
    script: str
    files: tuple[str, ...] = ()


SAMPLES = {
    sample.key: sample
    for sample in (
        Sample(
            key="first-steps",
            title=_("First steps"),
            text=_("One GPU for half a minute: shows what a job gets, writes a log and a result."),
            script="run.sh",
            files=("steps.txt",),
        ),
    )
}


def put_among_uploads(sample: Sample, *, by: User) -> list[Upload]:
    """The sample's files as complete uploads of the person, the script first. uploads.Refused where no room is left."""
    return [_upload(sample, name, by) for name in (sample.script, *sample.files)]


def _upload(sample: Sample, name: str, by: User) -> Upload:
    source = FOLDER / sample.key / name
    upload = uploads.begin(by=by, path=name, size=source.stat().st_size)
    with source.open("rb") as content:
        uploads.append(upload, at=0, length=upload.size, read=content.read)
    return upload
