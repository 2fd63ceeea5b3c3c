"""What tests of the job pages put in place: uploads that are here, a form filled in well, results that were fetched."""

from __future__ import annotations

from typing import Any

from accounting.models import Partition
from jobs import uploads
from jobs.models import Fetch, Job, JobFile, Upload
from portal.models import Project, User

SCRIPT = b"#!/bin/bash\necho hello\n"


def uploaded(owner: User, path: str = "run.sh", content: bytes = SCRIPT) -> Upload:
    """A complete upload."""
    upload = uploads.begin(by=owner, path=path, size=len(content))
    pieces = iter([content])
    uploads.append(upload, at=0, length=len(content), read=lambda _count: next(pieces, b""))
    return upload


def filled_in(
    project: Project, partition: Partition, script: Upload, *more: Upload, **changed: Any
) -> dict[str, Any]:
    """The submit page's form, as a person fills it in: two GPUs for an hour and a half."""
    return {
        "name": "Fringe fit",
        "project": project.pk,
        "partition": partition.pk,
        "gpus": "2",
        "hours": "1",
        "minutes": "30",
        "uploads": [str(upload.pk) for upload in (script, *more)],
        "script": str(script.pk),
        **changed,
    }


def result(job: Job, path: str = "metrics.json", content: bytes = b"{}") -> JobFile:
    """A file that the job left on the cluster."""
    return JobFile.objects.create(job=job, kind=JobFile.Kind.OUTPUT, path=path, size=len(content))


def brought(file: JobFile, content: bytes = b"{}") -> Fetch:
    """The same, brought here by the worker."""
    fetch = Fetch.objects.create(job_file=file, asked_by=file.job.owner, state=Fetch.State.READY)
    fetch.stored_at.parent.mkdir(parents=True, exist_ok=True)
    fetch.stored_at.write_bytes(content)
    return fetch
