"""Mail about an allocation to those who lead its lab."""

from __future__ import annotations

from django.urls import reverse

from accounting.models import Allocation
from portal.emails import post
from portal.models import Lab, Membership, Role, User


def tell_pis(template: str, allocation: Allocation, *, reason: str, **words: str | int) -> None:
    """One mail to each PI, once for `reason`. Days in `words` are written as in ISO 8601, amounts are GPU-seconds."""
    for pi in pis_of(allocation.project.lab):
        post(
            template,
            to=pi,
            key=f"allocation {allocation.pk}: {reason}",
            path=reverse("accounting:allocation", args=[allocation.pk]),
            project=allocation.project.title,
            cluster=allocation.cluster.title,
            until=allocation.end.isoformat(),
            seal=None,
            **words,
        )


def pis_of(lab: Lab) -> list[User]:
    leading = Membership.objects.current().filter(lab=lab, role=Role.PI)
    return list(User.objects.filter(pk__in=leading.values("user"), is_active=True).order_by("pk"))
