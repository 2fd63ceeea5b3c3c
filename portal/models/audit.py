"""Who did what, when: written in the same transaction as the deed, and never changed."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import Q
from django.utils import timezone

from portal.models.among import among
from portal.models.people import CENTRE_ROLES, Role, User
from portal.models.projects import Project


class AuditEventQuerySet(models.QuerySet["AuditEvent"]):
    def about(self, thing: models.Model) -> AuditEventQuerySet:
        return self.filter(object_type=thing._meta.label_lower, object_id=str(thing.pk))

    def visible_to(self, user: User) -> AuditEventQuerySet:
        """The centre reads everything; a PI and an institution's admin what was done in their projects."""
        if user.roles & {*CENTRE_ROLES}:
            return self
        labs = [m.lab_id for m in user.current_memberships if m.role == Role.PI]
        institutions = [
            m.institution_id for m in user.current_memberships if m.role == Role.INSTITUTION_ADMIN
        ]
        led = Project.objects.filter(Q(lab__in=labs) | Q(lab__institution__in=institutions))
        return self.filter(among("project", led.ids()))


class AuditEvent(models.Model):
    """Append-only, by a rule in the database. `actor` is empty where the portal itself acted."""

    at = models.DateTimeField(default=timezone.now, editable=False)
    actor = models.ForeignKey(User, models.PROTECT, null=True, blank=True, related_name="+")
    action = models.CharField(max_length=60)  # "allocation request approved"
    object_type = models.CharField(max_length=60)  # "accounting.allocationrequest"
    object_id = models.CharField(max_length=40)
    project = models.ForeignKey(Project, models.PROTECT, null=True, blank=True, related_name="+")
    detail = models.JSONField(default=dict, blank=True)

    objects = AuditEventQuerySet.as_manager()

    class Meta:
        ordering = ["-at", "-pk"]
        indexes = [
            models.Index(fields=["object_type", "object_id"], name="audit_by_object"),
            # The audit page is turned by (at, id), and narrowed by any of these.
            models.Index(fields=["-at", "-id"], name="audit_newest_first"),
            models.Index(fields=["actor", "-at", "-id"], name="audit_by_actor"),
            models.Index(fields=["action", "-at", "-id"], name="audit_by_action"),
            models.Index(fields=["object_type", "-at", "-id"], name="audit_by_kind"),
            models.Index(fields=["project", "-at", "-id"], name="audit_by_project"),
        ]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M} {self.action} {self.object_type} {self.object_id}"


def record(
    action: str, thing: models.Model, *, by: User | None, project: Project | None = None, **detail: Any
) -> AuditEvent:
    """Write one audit row about `thing`. Call it inside the transaction of the deed."""
    return AuditEvent.objects.create(
        actor=by,
        action=action,
        object_type=thing._meta.label_lower,
        object_id=str(thing.pk),
        project=project,
        detail=detail,
    )
