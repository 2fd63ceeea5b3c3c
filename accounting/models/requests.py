"""The wish for GPU-hours: what was asked, line by line, with what is attached to it."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models
from django.db.models import Exists, F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounting.models.clusters import Cluster, Partition
from accounting.units import charged
from portal.models import Project, Role, User
from portal.models.among import among
from portal.models.moves import Moving
from portal.models.people import CENTRE_ROLES

if TYPE_CHECKING:
    from accounting.models.reviews import Review


class AllocationRequestQuerySet(models.QuerySet["AllocationRequest"]):
    def visible_to(self, user: User) -> AllocationRequestQuerySet:
        """Its lab's PIs, its institution's admins, and the centre once it was submitted."""
        labs = [m.lab_id for m in user.current_memberships if m.role == Role.PI]
        institutions = [
            m.institution_id for m in user.current_memberships if m.role == Role.INSTITUTION_ADMIN
        ]
        asking = Project.objects.filter(Q(lab__in=labs) | Q(lab__institution__in=institutions))
        # As with jobs: what fits an OR is counted row by row, so whoever asked nowhere else is not asked for.
        elsewhere = Exists(AllocationRequest.objects.filter(created_by=user).exclude(project__in=asking))
        found = list(asking.order_by().values_list("pk", elsewhere))
        mine = Q(among("project", (pk for pk, _elsewhere in found)))
        if not found or found[0][1]:
            mine |= Q(created_by=user)
        if user.roles & {*CENTRE_ROLES}:
            mine |= ~Q(state=AllocationRequest.State.DRAFT)
        return self.filter(mine)

    def waiting(self) -> AllocationRequestQuerySet:
        """With the centre: nobody has decided, or one of two has. A transfer waits for its receiver first."""
        return self.filter(state__in=AllocationRequest.WITH_CENTRE).exclude(
            kind=AllocationRequest.Kind.TRANSFER, consented_at=None
        )

    def offered_to(self, user: User) -> AllocationRequestQuerySet:
        """Transfers to projects of labs that this person leads, once they were sent: theirs to accept or decline."""
        labs = [m.lab_id for m in user.current_memberships if m.role == Role.PI]
        # That a transfer has a receiver lets a database pass over all that are none, in the receivers' index.
        transfers = self.filter(kind=AllocationRequest.Kind.TRANSFER, to_project__isnull=False)
        return transfers.filter(to_project__lab__in=labs).exclude(
            state__in=(AllocationRequest.State.DRAFT, AllocationRequest.State.WITHDRAWN)
        )

    def unanswered(self) -> AllocationRequestQuerySet:
        """Transfers on which their receiver has not said anything yet."""
        return self.filter(
            kind=AllocationRequest.Kind.TRANSFER, state=AllocationRequest.State.SUBMITTED, consented_at=None
        )


class AllocationRequest(Moving):
    """A wish for GPU-hours for a project on a cluster over a period. What was asked stays beside what was awarded."""

    class State(models.TextChoices):
        DRAFT = "draft", _("draft")
        SUBMITTED = "submitted", _("submitted")
        RETURNED = "returned", _("returned")
        ENDORSED = "endorsed", _("approved by the first of two")
        APPROVED = "approved", _("approved")
        REJECTED = "rejected", _("rejected")
        WITHDRAWN = "withdrawn", _("withdrawn")

    MOVES = {
        State.DRAFT: {State.SUBMITTED, State.WITHDRAWN},
        State.SUBMITTED: {
            State.RETURNED,
            State.ENDORSED,
            State.APPROVED,
            State.REJECTED,
            State.WITHDRAWN,
        },
        State.ENDORSED: {State.SUBMITTED, State.RETURNED, State.APPROVED, State.REJECTED, State.WITHDRAWN},
        State.RETURNED: {State.SUBMITTED, State.WITHDRAWN},
        State.APPROVED: frozenset[State](),
        State.REJECTED: frozenset[State](),
        State.WITHDRAWN: frozenset[State](),
    }

    WITH_LAB = (State.DRAFT, State.RETURNED)
    WITH_CENTRE = (State.SUBMITTED, State.ENDORSED)

    class Kind(models.TextChoices):
        NEW = "new", _("new")
        SUPPLEMENT = "supplement", _("supplement")  # more hours for `allocation`
        EXTENSION = "extension", _("extension")  # a later last day for `allocation`; no hours
        RENEWAL = "renewal", _("renewal")  # an allocation that follows `allocation`
        TRANSFER = "transfer", _("transfer")  # hours of `allocation` to `to_project`

    project = models.ForeignKey(Project, models.PROTECT, related_name="requests", verbose_name=_("project"))
    cluster = models.ForeignKey(Cluster, models.PROTECT, related_name="requests", verbose_name=_("cluster"))
    kind = models.CharField(_("kind"), max_length=12, choices=Kind, default=Kind.NEW)
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.DRAFT)
    allocation = models.ForeignKey(
        "Allocation",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="changes",
        verbose_name=_("allocation"),
    )
    to_project = models.ForeignKey(
        Project, models.PROTECT, null=True, blank=True, related_name="offers", verbose_name=_("to project")
    )
    consented_by = models.ForeignKey(User, models.PROTECT, null=True, blank=True, related_name="+")
    consented_at = models.DateTimeField(null=True, blank=True)  # by the PI of `to_project`
    call = models.ForeignKey(
        "Call", models.PROTECT, null=True, blank=True, related_name="requests", verbose_name=_("call")
    )  # empty: at any time
    gpu_seconds_asked = models.BigIntegerField(default=0)  # to be charged: Σ lines × factor
    start = models.DateField(_("from"), null=True, blank=True)  # a draft may still lack the days
    end = models.DateField(
        _("until"), null=True, blank=True, help_text=_("The last day on which hours can be used.")
    )
    justification = models.TextField(_("what the hours are for"), max_length=10_000, blank=True)
    people = models.TextField(_("people"), max_length=5000, blank=True)  # who will work on it, in words
    software = models.TextField(_("software"), max_length=5000, blank=True)
    # What was typed into the form and can't be taken yet, by the field's name: a draft loses nothing.
    unfinished = models.JSONField(default=dict, blank=True, editable=False)
    version = models.PositiveIntegerField(default=0, editable=False)  # grows with each change
    changed_at = models.DateTimeField(default=timezone.now, editable=False)
    created_by = models.ForeignKey(User, models.PROTECT, related_name="+")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    submitted_at = models.DateTimeField(null=True, blank=True)
    decided_at = models.DateTimeField(null=True, blank=True)

    objects = AllocationRequestQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-pk"]
        verbose_name = _("allocation request")
        indexes = [
            models.Index(
                fields=["submitted_at"],
                condition=Q(state__in=("submitted", "endorsed")),
                name="requests_waiting",
            ),
            models.Index(fields=["-decided_at"], name="requests_by_decision"),
            models.Index(fields=["state", "created_by"], name="requests_by_state"),  # how many are where
            models.Index(fields=["-created_at", "-id"], name="requests_newest_first"),
        ]
        constraints = [
            models.CheckConstraint(condition=Q(gpu_seconds_asked__gte=0), name="request_not_negative"),
            models.CheckConstraint(
                name="sent_request_is_whole",
                condition=Q(state__in=("draft", "returned", "withdrawn"))
                | Q(start__isnull=False, end__gte=F("start"))
                & (Q(gpu_seconds_asked__gt=0) | Q(kind="extension", gpu_seconds_asked=0)),
            ),
            models.CheckConstraint(
                name="request_names_what_it_changes",
                condition=Q(kind="new", allocation=None) | ~Q(kind="new") & Q(allocation__isnull=False),
            ),
            models.CheckConstraint(
                name="only_transfers_have_a_receiver",
                condition=Q(kind="transfer") | Q(to_project=None, consented_by=None, consented_at=None),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.project} {self.created_at:%Y-%m-%d}"

    @property
    def period(self) -> tuple[date, date]:
        """First and last day of a request that was sent; a draft may lack them."""
        if self.start is None or self.end is None:
            raise ValueError(f"request {self.pk} has no period yet")
        return self.start, self.end

    @property
    def kind_word(self) -> str:
        return str(self.Kind(self.kind).label)

    @property
    def is_open(self) -> bool:
        """Whether it is with its lab, which may change it."""
        return self.state in self.WITH_LAB

    @property
    def is_waiting(self) -> bool:
        return self.state in self.WITH_CENTRE

    @property
    def priced_lines(self) -> models.QuerySet[RequestLine]:
        """What was asked by partition, with what each line costs at hand."""
        return self.lines.select_related("partition").prefetch_related("partition__factors")

    @property
    def lacks_consent(self) -> bool:
        """Whether it is a transfer to which the receiving project's PI has not agreed: nothing for the centre yet."""
        return self.kind == self.Kind.TRANSFER and self.consented_at is None

    @property
    def decision(self) -> Review | None:
        """The latest review, with its words."""
        return max(self.reviews.all(), key=lambda review: review.pk, default=None)

    @property
    def endorsement(self) -> Review | None:
        """What the first of two approvers proposed, while the second has to agree."""
        latest = self.decision
        return latest if latest and self.state == self.State.ENDORSED else None

    def is_of(self, user: User) -> bool:
        """Whether it is `user`'s own: asked by them, or for a lab or an institution that they belong to."""
        project, to = self.project, self.to_project
        labs = {project.lab_id, to.lab_id if to else None}
        institutions = {project.lab.institution_id, to.lab.institution_id if to else None}
        return user.pk in (self.created_by_id, self.consented_by_id) or any(
            (membership.lab_id and membership.lab_id in labs)
            or (membership.institution_id and membership.institution_id in institutions)
            for membership in user.current_memberships
        )


class RequestLine(models.Model):
    """Hours on one partition. `gpu_seconds` are device-seconds; what they cost is × the partition's factor."""

    request = models.ForeignKey(AllocationRequest, models.CASCADE, related_name="lines")
    partition = models.ForeignKey(Partition, models.PROTECT, related_name="+", verbose_name=_("partition"))
    gpu_seconds = models.BigIntegerField()
    justification = models.TextField(_("why that many"), max_length=2000, blank=True)

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["request", "partition"], name="one_line_per_partition"),
            models.CheckConstraint(condition=Q(gpu_seconds__gt=0), name="line_asks_for_something"),
        ]

    def __str__(self) -> str:
        return f"{self.partition}: {self.gpu_seconds}"

    @property
    def cost(self) -> int:
        """GPU-seconds that would be charged, at today's price."""
        return charged(self.gpu_seconds, self.partition.factor_at(timezone.now()))


class Attachment(models.Model):
    """A PDF beside a request, checked when it came. Its file lies under settings.ATTACHMENT_ROOT."""

    request = models.ForeignKey(AllocationRequest, models.CASCADE, related_name="attachments")
    name = models.CharField(max_length=200)
    size = models.PositiveIntegerField()
    pages = models.PositiveIntegerField()
    sha256 = models.CharField(max_length=64)
    added_by = models.ForeignKey(User, models.PROTECT, related_name="+")
    added_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["pk"]
        constraints = [models.UniqueConstraint(fields=["request", "sha256"], name="attached_once")]

    def __str__(self) -> str:
        return self.name

    @property
    def stored_at(self) -> Path:
        """Named by what it holds, never by what somebody called it."""
        return settings.ATTACHMENT_ROOT / self.sha256[:2] / f"{self.sha256}-{self.pk}"


class Publication(models.Model):
    """What came out of a project, by its DOI."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="publications")
    doi = models.CharField("DOI", max_length=200)
    title = models.CharField(_("title"), max_length=500)
    year = models.PositiveSmallIntegerField(_("year"))
    added_by = models.ForeignKey(User, models.PROTECT, related_name="+")
    added_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["-year", "title"]
        constraints = [models.UniqueConstraint(fields=["project", "doi"], name="one_publication_per_doi")]

    def __str__(self) -> str:
        return self.title
