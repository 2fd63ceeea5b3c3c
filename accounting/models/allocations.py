"""The way from a wish for GPU-hours to an allocation: request, review, grant."""

from __future__ import annotations

from datetime import date

from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounting.models.clusters import Cluster
from portal.models import Project, Role, User
from portal.models.moves import Moving
from portal.models.people import CENTRE_ROLES


class AllocationRequestQuerySet(models.QuerySet["AllocationRequest"]):
    def visible_to(self, user: User) -> AllocationRequestQuerySet:
        """Its lab's PIs, its institution's admins, and the centre once it was submitted."""
        labs = [m.lab_id for m in user.current_memberships if m.role == Role.PI]
        institutions = [
            m.institution_id for m in user.current_memberships if m.role == Role.INSTITUTION_ADMIN
        ]
        mine = Q(project__lab__in=labs) | Q(project__lab__institution__in=institutions) | Q(created_by=user)
        if user.roles & {*CENTRE_ROLES}:
            mine |= ~Q(state=AllocationRequest.State.DRAFT)
        return self.filter(mine)

    def waiting(self) -> AllocationRequestQuerySet:
        return self.filter(state=AllocationRequest.State.SUBMITTED)


class AllocationRequest(Moving):
    """A wish for GPU-hours for a project on a cluster over a period. What was asked stays beside what was awarded."""

    class State(models.TextChoices):
        DRAFT = "draft", _("draft")
        SUBMITTED = "submitted", _("submitted")
        RETURNED = "returned", _("returned")
        APPROVED = "approved", _("approved")
        REJECTED = "rejected", _("rejected")
        WITHDRAWN = "withdrawn", _("withdrawn")

    MOVES = {
        State.DRAFT: {State.SUBMITTED, State.WITHDRAWN},
        State.SUBMITTED: {State.RETURNED, State.APPROVED, State.REJECTED, State.WITHDRAWN},
        State.RETURNED: {State.SUBMITTED, State.WITHDRAWN},
        State.APPROVED: frozenset[State](),
        State.REJECTED: frozenset[State](),
        State.WITHDRAWN: frozenset[State](),
    }

    class Kind(models.TextChoices):
        NEW = "new", _("new")
        SUPPLEMENT = "supplement", _("supplement")
        EXTENSION = "extension", _("extension")
        RENEWAL = "renewal", _("renewal")
        TRANSFER = "transfer", _("transfer")

    project = models.ForeignKey(Project, models.PROTECT, related_name="requests", verbose_name=_("project"))
    cluster = models.ForeignKey(Cluster, models.PROTECT, related_name="requests", verbose_name=_("cluster"))
    kind = models.CharField(_("kind"), max_length=12, choices=Kind, default=Kind.NEW)
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.DRAFT)
    gpu_seconds_asked = models.BigIntegerField()
    start = models.DateField(_("from"))
    end = models.DateField(_("until"), help_text=_("The last day on which hours can be used."))
    justification = models.TextField(_("what the hours are for"), max_length=10_000)
    created_by = models.ForeignKey(User, models.PROTECT, related_name="+")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    submitted_at = models.DateTimeField(null=True, blank=True)
    decided_at = models.DateTimeField(null=True, blank=True)

    objects = AllocationRequestQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-pk"]
        verbose_name = _("allocation request")
        constraints = [
            models.CheckConstraint(condition=Q(gpu_seconds_asked__gt=0), name="request_asks_for_something"),
            models.CheckConstraint(condition=Q(end__gte=F("start")), name="request_ends_after_start"),
        ]

    def __str__(self) -> str:
        return f"{self.project} {self.created_at:%Y-%m-%d}"

    @property
    def is_open(self) -> bool:
        """Whether it is with its lab, which may change it."""
        return self.state in (self.State.DRAFT, self.State.RETURNED)

    @property
    def is_waiting(self) -> bool:
        return self.state == self.State.SUBMITTED

    @property
    def decision(self) -> Review | None:
        """The latest review, with its words."""
        return max(self.reviews.all(), key=lambda review: review.pk, default=None)


class Review(models.Model):
    """What somebody of the centre said of a request."""

    class Verdict(models.TextChoices):
        APPROVED = "approved", _("approved")
        RETURNED = "returned", _("returned for changes")
        REJECTED = "rejected", _("rejected")

    request = models.ForeignKey(AllocationRequest, models.PROTECT, related_name="reviews")
    reviewer = models.ForeignKey(User, models.PROTECT, related_name="+")
    verdict = models.CharField(max_length=10, choices=Verdict)
    gpu_seconds_awarded = models.BigIntegerField(default=0)
    comment = models.TextField(_("comment"), blank=True, max_length=5000)
    at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["at", "pk"]
        constraints = [
            models.CheckConstraint(
                name="award_goes_with_approval",
                condition=Q(verdict="approved", gpu_seconds_awarded__gt=0)
                | (~Q(verdict="approved") & Q(gpu_seconds_awarded=0)),
            )
        ]

    def __str__(self) -> str:
        return f"{self.reviewer}: {self.get_verdict_display()}"


class AllocationQuerySet(models.QuerySet["Allocation"]):
    def visible_to(self, user: User) -> AllocationQuerySet:
        return self.filter(project__in=Project.objects.visible_to(user))

    def active(self, on: date) -> AllocationQuerySet:
        return self.filter(start__lte=on, end__gte=on)


class Allocation(models.Model):
    """GPU-hours for a project on a cluster, usable from `start` to `end`, both days included.

    How many is told by the ledger; that it has expired, by its dates.
    """

    project = models.ForeignKey(Project, models.PROTECT, related_name="allocations")
    cluster = models.ForeignKey(Cluster, models.PROTECT, related_name="allocations")
    start = models.DateField()
    end = models.DateField()
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = AllocationQuerySet.as_manager()

    class Meta:
        ordering = ["end", "pk"]
        constraints = [
            models.CheckConstraint(condition=Q(end__gte=F("start")), name="allocation_ends_after_start")
        ]

    def __str__(self) -> str:
        return f"{self.project} ({self.cluster.name})"

    def is_active(self, on: date) -> bool:
        return self.start <= on <= self.end
