"""How much each person may use of an allocation: set by the PI. One transaction, with `by`."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from accounting.models import Allocation, PersonCap
from portal.models import Membership, User
from portal.models.audit import record
from portal.models.people import LAB_ROLES
from portal.permissions import Permission, check_permission


@transaction.atomic
def set_caps(*, by: User, allocation: Allocation, caps: Mapping[User, int | None]) -> None:
    """GPU-seconds by person, None for no cap. Who is not named keeps theirs. What is held or used already stays."""
    check_permission(by, Permission.SET_CAPS, lab=allocation.project.lab)
    before = dict(PersonCap.objects.filter(allocation=allocation).values_list("user", "gpu_seconds"))
    for person, gpu_seconds in caps.items():
        if before.get(person.pk) != gpu_seconds:
            _set(by, allocation, person, gpu_seconds)


def capped_people(allocation: Allocation) -> QuerySet[User]:
    """Whom a cap can be set for: everybody who works in the lab, and whoever has a cap."""
    working = Membership.objects.current().filter(lab=allocation.project.lab_id, role__in=LAB_ROLES)
    capped = PersonCap.objects.filter(allocation=allocation)
    people = working.order_by().values("user").union(capped.order_by().values("user"))
    return User.objects.filter(pk__in=people).order_by("name", "pk")


def _set(by: User, allocation: Allocation, person: User, gpu_seconds: int | None) -> None:
    mine = PersonCap.objects.filter(allocation=allocation, user=person)
    if gpu_seconds is None:
        mine.delete()
    else:
        mine.update_or_create(
            allocation=allocation,
            user=person,
            defaults={"gpu_seconds": gpu_seconds, "set_by": by, "set_at": timezone.now()},
        )
    record(
        "cap set",
        allocation,
        by=by,
        project=allocation.project,
        person=person.pk,
        name=person.name,
        gpu_seconds=gpu_seconds,
    )
