"""What is to be put right in the ledger and waits for somebody: refunds, corrections by two, and what doesn't add up."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounting.models.allocations import Allocation
from accounting.models.clusters import Cluster
from accounting.models.ledger import LedgerEntry
from accounting.models.usage import UsageRecord
from portal.models import User
from portal.models.moves import Moving


class RefundProposal(Moving):
    """A run that its node ended: what it was charged shall be given back, if staff agree.

    `gpu_seconds` follows the charge while nobody has decided.
    """

    class State(models.TextChoices):
        PROPOSED = "proposed", _("proposed")
        APPROVED = "approved", _("approved")
        DECLINED = "declined", _("declined")
        LAPSED = "lapsed", _("lapsed")  # the record changed: there is nothing to give back any more

    MOVES = {
        State.PROPOSED: {State.APPROVED, State.DECLINED, State.LAPSED},
        State.APPROVED: frozenset[State](),
        State.DECLINED: frozenset[State](),
        State.LAPSED: {State.PROPOSED},
    }

    usage_record = models.OneToOneField(UsageRecord, models.PROTECT, related_name="refund_proposal")
    allocation = models.ForeignKey(Allocation, models.PROTECT, related_name="refund_proposals")
    gpu_seconds = models.BigIntegerField()
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.PROPOSED)
    proposed_at = models.DateTimeField(default=timezone.now, editable=False)
    decided_by = models.ForeignKey(User, models.PROTECT, null=True, blank=True, related_name="+")
    decided_at = models.DateTimeField(null=True, blank=True)
    reason = models.CharField(_("reason"), max_length=500, blank=True)
    entry = models.OneToOneField(LedgerEntry, models.PROTECT, null=True, blank=True, related_name="+")

    class Meta:
        ordering = ["proposed_at", "pk"]
        verbose_name = _("refund")
        constraints = [
            models.CheckConstraint(condition=Q(gpu_seconds__gt=0), name="refund_gives_something"),
        ]
        indexes = [
            models.Index(
                fields=["proposed_at", "id"], condition=Q(state="proposed"), name="refunds_to_decide"
            ),
            models.Index(fields=["state", "-decided_at", "-id"], name="refunds_decided"),
        ]

    def __str__(self) -> str:
        return f"refund of {self.usage_record}"


class Correction(Moving):
    """A correction of a balance by hand, so large that a second person has to agree."""

    class State(models.TextChoices):
        PROPOSED = "proposed", _("proposed")
        APPROVED = "approved", _("approved")
        DECLINED = "declined", _("declined")

    MOVES = {
        State.PROPOSED: {State.APPROVED, State.DECLINED},
        State.APPROVED: frozenset[State](),
        State.DECLINED: frozenset[State](),
    }

    allocation = models.ForeignKey(Allocation, models.PROTECT, related_name="corrections")
    gpu_seconds = models.BigIntegerField()  # signed, as in the ledger
    reason = models.CharField(_("reason"), max_length=500)
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.PROPOSED)
    proposed_by = models.ForeignKey(User, models.PROTECT, related_name="+")
    proposed_at = models.DateTimeField(default=timezone.now, editable=False)
    decided_by = models.ForeignKey(User, models.PROTECT, null=True, blank=True, related_name="+")
    decided_at = models.DateTimeField(null=True, blank=True)
    comment = models.CharField(_("comment"), max_length=500, blank=True)
    entry = models.OneToOneField(LedgerEntry, models.PROTECT, null=True, blank=True, related_name="+")

    class Meta:
        ordering = ["-proposed_at", "-pk"]
        verbose_name = _("correction")
        constraints = [
            models.CheckConstraint(
                condition=~Q(gpu_seconds=0) & ~Q(reason=""), name="correction_says_what_and_why"
            ),
            models.CheckConstraint(
                condition=~Q(state="approved")
                | Q(decided_by__isnull=False) & ~Q(decided_by=F("proposed_by")),
                name="correction_approved_by_another",
            ),
        ]
        indexes = [models.Index(fields=["state", "-proposed_at", "-id"], name="corrections_by_state")]

    def __str__(self) -> str:
        return f"{self.allocation}: {self.gpu_seconds:+}"


class BalanceDifference(models.Model):
    """What the nightly check found not to follow from the facts. Open until a later check finds it right."""

    class Kind(models.TextChoices):
        CHARGE = "charge", _("charge of a run")
        REFUND = "refund", _("refund of a run")
        USED = "used", _("hours used of an allocation")
        SUM = "sum", _("kept sum of an allocation")
        GRANT = "grant", _("grant of a decision")
        TRANSFER = "transfer", _("transfer")
        HOLD = "hold", _("hold of a job")
        DAY = "day", _("usage of a day")

    kind = models.CharField(_("kind"), max_length=10, choices=Kind)
    subject = models.CharField(max_length=200)  # which one: says the same of the same thing each night
    cluster = models.ForeignKey(Cluster, models.CASCADE, null=True, related_name="+")
    allocation = models.ForeignKey(Allocation, models.CASCADE, null=True, related_name="+")
    expected = models.BigIntegerField()  # GPU-seconds, by the facts
    found = models.BigIntegerField()
    first_seen_at = models.DateTimeField(default=timezone.now, editable=False)
    last_seen_at = models.DateTimeField(default=timezone.now)
    cleared_at = models.DateTimeField(null=True, blank=True)
    cause = models.CharField(_("cause"), max_length=500, blank=True)
    explained_by = models.ForeignKey(User, models.PROTECT, null=True, blank=True, related_name="+")

    class Meta:
        ordering = [F("cleared_at").desc(nulls_first=True), "-first_seen_at", "-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "subject"], condition=Q(cleared_at=None), name="one_open_difference"
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.subject}: {self.found} for {self.expected}"
