"""GPU-hours that were granted: from when to when, for whom how many at most, and what their PI told of them."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounting.models.clusters import Cluster
from portal.models import Project, User
from portal.models.people import CENTRE_ROLES

if TYPE_CHECKING:
    from accounting.models.reviews import Review


class AllocationState(models.TextChoices):
    """Where an allocation stands on a day, for people. It follows from dates and marks; nothing stores it."""

    COMING = "coming", _("not begun yet")
    ACTIVE = "active", _("active")
    GRACE = "grace", _("in grace")
    SUSPENDED = "suspended", _("suspended")
    EXPIRED = "expired", _("expired")
    SETTLED = "settled", _("expired and settled")


class AllocationQuerySet(models.QuerySet["Allocation"]):
    def visible_to(self, user: User) -> AllocationQuerySet:
        if user.roles & {*CENTRE_ROLES}:
            return self
        return self.filter(project__in=Project.objects.visible_to(user))

    def active(self, on: date) -> AllocationQuerySet:
        """Their hours can be used on that day: begun, not past the last usable day, not suspended."""
        return self.filter(start__lte=on, usable_until__gte=on, suspended_at=None, settled_at=None)

    def unsettled(self) -> AllocationQuerySet:
        return self.filter(settled_at=None)


class Allocation(models.Model):
    """GPU-hours for a project on a cluster, from `start` to `end`, both days included, and in grace until `usable_until`.

    How many is told by the ledger; that it has expired, by its dates. `settled_at`: what was left then is an expiry in
    the ledger.
    """

    project = models.ForeignKey(Project, models.PROTECT, related_name="allocations")
    cluster = models.ForeignKey(Cluster, models.PROTECT, related_name="allocations")
    start = models.DateField()
    end = models.DateField()
    usable_until = models.DateField()  # `end` and the grace of the cluster's policy when it was granted
    # The decision that made it; empty for those from before decisions were kept with them.
    review: models.OneToOneField[Review | None, Review | None] = models.OneToOneField(
        "Review", models.PROTECT, null=True, blank=True, related_name="allocation"
    )
    follows = models.ForeignKey("self", models.PROTECT, null=True, blank=True, related_name="renewals")
    suspended_at = models.DateTimeField(null=True, blank=True)
    suspended_by = models.ForeignKey(User, models.PROTECT, null=True, blank=True, related_name="+")
    suspension_reason = models.CharField(_("reason"), max_length=500, blank=True)
    # Use it or lose it: the PIs were told what they are about to lose, and the checkpoint was held.
    warned_at = models.DateTimeField(null=True, blank=True)
    checked_at = models.DateTimeField(null=True, blank=True)
    settled_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = AllocationQuerySet.as_manager()

    class Meta:
        ordering = ["end", "pk"]
        constraints = [
            models.CheckConstraint(condition=Q(end__gte=F("start")), name="allocation_ends_after_start"),
            models.CheckConstraint(condition=Q(usable_until__gte=F("end")), name="grace_not_negative"),
            models.CheckConstraint(
                name="suspension_has_reason", condition=Q(suspended_at=None) | ~Q(suspension_reason="")
            ),
        ]

    def __str__(self) -> str:
        return f"{self.project} ({self.cluster.name})"

    def covers(self, day: date) -> bool:
        """Whether what ran on that day is its to pay: by its dates, whatever has become of it since."""
        return self.start <= day <= self.usable_until

    def is_active(self, on: date) -> bool:
        return self.state_on(on) in (AllocationState.ACTIVE, AllocationState.GRACE)

    def state_on(self, day: date) -> AllocationState:
        if self.settled_at is not None:
            return AllocationState.SETTLED
        if day > self.usable_until:
            return AllocationState.EXPIRED
        if self.suspended_at is not None:
            return AllocationState.SUSPENDED
        if day < self.start:
            return AllocationState.COMING
        return AllocationState.ACTIVE if day <= self.end else AllocationState.GRACE


class PersonCap(models.Model):
    """The most that one person may use of an allocation, charges and holds together. Set by the PI."""

    allocation = models.ForeignKey(Allocation, models.CASCADE, related_name="caps")
    user = models.ForeignKey(User, models.PROTECT, related_name="+")
    gpu_seconds = models.BigIntegerField()
    set_by = models.ForeignKey(User, models.PROTECT, related_name="+")
    set_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["user__name"]
        constraints = [
            models.UniqueConstraint(fields=["allocation", "user"], name="one_cap_per_person"),
            models.CheckConstraint(condition=Q(gpu_seconds__gte=0), name="cap_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.user}: {self.gpu_seconds}"


class BudgetNotice(models.Model):
    """That so much of what was granted is used was mailed. A supplement makes room for new notices."""

    allocation = models.ForeignKey(Allocation, models.CASCADE, related_name="budget_notices")
    percent = models.PositiveSmallIntegerField()
    granted = models.BigIntegerField()
    at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["allocation", "percent", "granted"], name="noticed_once")
        ]

    def __str__(self) -> str:
        return f"{self.allocation}: {self.percent} %"


class ProgressReport(models.Model):
    """What a PI told of an allocation's work: needed before its renewal."""

    allocation = models.OneToOneField(Allocation, models.PROTECT, related_name="progress_report")
    text = models.TextField(_("what was done with the hours"), max_length=20_000)
    written_by = models.ForeignKey(User, models.PROTECT, related_name="+")
    written_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name = _("progress report")

    def __str__(self) -> str:
        return f"report on {self.allocation}"
