"""Whether somebody may still run what they submitted, as the database says at this moment."""

from __future__ import annotations

from collections.abc import Sequence

from jobs.models import Job
from portal.models import Membership, Project, User
from portal.models.people import LAB_ROLES


def why_ended(job: Job) -> str:
    """ "" while the right holds, else the reason's code. Asks the database anew: a person in memory may be of an hour ago."""
    return why_each_ended([job]).get(job.pk, "")


def why_each_ended(jobs: Sequence[Job]) -> dict[int, str]:
    """By the pk of those whose right has ended: why. However many they are, one query where it has for none, else three."""
    held = set(
        Job.objects.entitled().filter(pk__in=[job.pk for job in jobs]).order_by().values_list("pk", flat=True)
    )
    return _reasons([job for job in jobs if job.pk not in held]) if len(held) < len(jobs) else {}


def _reasons(jobs: Sequence[Job]) -> dict[int, str]:
    projects = Project.objects.select_related("lab").in_bulk({job.project_id for job in jobs})
    active = User.objects.filter(pk__in={job.owner_id for job in jobs}, is_active=True)
    labs = {project.lab_id for project in projects.values()}
    roles = Membership.objects.current().filter(lab__in=labs, role__in=LAB_ROLES, user__in=active)
    held = set(roles.values_list("user", "lab"))

    def why(job: Job) -> str:
        project = projects[job.project_id]
        if project.state != Project.State.ACTIVE or project.lab.closed_at is not None:
            return "ProjectClosed"
        return "" if (job.owner_id, project.lab_id) in held else "NoLongerMember"

    return {job.pk: reason for job in jobs if (reason := why(job))}
