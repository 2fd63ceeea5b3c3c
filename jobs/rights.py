"""Whether somebody may still run what they submitted, as the database says at this moment."""

from __future__ import annotations

from jobs.models import Job
from portal.models import Membership, Project, User
from portal.models.people import LAB_ROLES


def why_ended(job: Job) -> str:
    """ "" while the right holds, else the reason's code. Asks the database anew: a person in memory may be of an hour ago."""
    project = Project.objects.select_related("lab").get(pk=job.project_id)
    if project.state != Project.State.ACTIVE or project.lab.closed_at is not None:
        return "ProjectClosed"
    active = User.objects.filter(pk=job.owner_id, is_active=True)
    roles = Membership.objects.current().filter(lab=project.lab_id, role__in=LAB_ROLES, user__in=active)
    return "" if roles.exists() else "NoLongerMember"
