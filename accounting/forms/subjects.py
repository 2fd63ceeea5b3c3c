"""What a form for asking is about, and what stands in it at first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from django.utils import timezone

from accounting.forms.fields import typed_hours
from accounting.models import Allocation, AllocationRequest
from portal.models import Project

Kind = AllocationRequest.Kind


@dataclass(frozen=True)
class Subject:
    """What a form is about: which kind of request, for which project, changing which allocation, and the draft of it."""

    project: Project
    kind: str = Kind.NEW
    allocation: Allocation | None = None
    asked: AllocationRequest | None = None


def initial_of(subject: Subject) -> dict[str, Any]:
    """What stands in the form at first: the draft with what it could not take, or the usual."""
    if subject.asked is None:
        return {"start": _usual_start(subject)}
    asked = subject.asked
    initial: dict[str, Any] = {
        name: getattr(asked, name) for name in ("start", "end", "justification", "people", "software")
    }
    initial |= {"cluster": asked.cluster_id, "call": asked.call_id}
    initial["to_project"] = asked.to_project.slug if asked.to_project else ""
    initial["gpu_hours"] = typed_hours(asked.gpu_seconds_asked) if asked.gpu_seconds_asked else ""
    for line in asked.lines.all():
        initial[f"hours_{line.partition_id}"] = typed_hours(line.gpu_seconds)
        initial[f"why_{line.partition_id}"] = line.justification
    initial |= asked.unfinished
    return initial


def _usual_start(subject: Subject) -> date:
    today = timezone.now().date()
    before = subject.allocation
    return max(today, before.end + timedelta(days=1)) if before else today
