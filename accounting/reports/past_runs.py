"""What did a project's runs take so far? For whoever estimates the next ones."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from accounting.models import UsageRecord
from portal.models import Project

LATEST = 500


@dataclass(frozen=True)
class UsualRun:
    """Of the latest ended runs that held GPUs: how many they were, and the GPU-seconds of the one in the middle."""

    count: int
    gpu_seconds: int


def usual_run(project: Project) -> UsualRun | None:
    ended = UsageRecord.objects.filter(
        project=project, end__isnull=False, gpu_seconds__gt=0, provisional=False
    )
    taken = list(ended.order_by("-end").values_list("gpu_seconds", flat=True)[:LATEST])
    return UsualRun(len(taken), int(median(taken))) if taken else None
