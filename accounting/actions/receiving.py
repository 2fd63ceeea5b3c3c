"""What happens when a request arrives: its words are kept, and it is granted at once or those who decide are mailed."""

from __future__ import annotations

from django.db import transaction

from accounting.actions import notices
from accounting.actions.policies import grant_at_once
from accounting.models import AllocationRequest, Submission
from accounting.units import hours


@transaction.atomic
def receive(request: AllocationRequest) -> None:
    """The end of submitting, in its transaction."""
    request.refresh_from_db()  # it may have been changed by an UPDATE just before
    number = request.submissions.count() + 1
    Submission.objects.create(request=request, number=number, content=content_of(request))
    if grant_at_once(request=request) is None:
        notices.submitted(request, number)


def content_of(request: AllocationRequest) -> dict[str, str]:
    """What the request says, by the names of COMMENTABLE: text that a person can compare."""
    project = request.project
    lines = [
        f"{line.partition.name}: {hours(line.gpu_seconds)}"
        for line in request.lines.select_related("partition")
    ]
    return {
        "cluster": request.cluster.title,
        "lines": "\n".join(lines) or str(hours(request.gpu_seconds_asked)),
        "start": str(request.start or ""),
        "end": str(request.end or ""),
        "justification": request.justification,
        "people": request.people,
        "software": request.software,
        "publications": "\n".join(project.publications.values_list("doi", flat=True)),
        "attachments": "\n".join(request.attachments.values_list("name", flat=True)),
        "title": project.title,
        "abstract": project.abstract,
        "field_of_science": project.field_of_science,
        "funder": project.funder.name if project.funder else "",
        "grant_number": project.grant_number,
    }
