"""Policy: GPU-seconds granted, held and charged. Entries are ink: the database refuses to change or remove one."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounting.models.allocations import Allocation
from accounting.models.reviews import Review, Tranche
from accounting.models.usage import UsageRecord
from portal.models import User


class HoldQuerySet(models.QuerySet["Hold"]):
    def open(self) -> HoldQuerySet:
        return self.filter(released_at=None)


class Hold(models.Model):
    """The worst case of one unfinished job: GPUs × time limit × factor. Released when the job is final."""

    allocation = models.ForeignKey(Allocation, models.PROTECT, related_name="holds")
    reference = models.CharField(max_length=40, unique=True)  # the job's token
    person = models.ForeignKey(
        User, models.PROTECT, null=True, blank=True, related_name="+"
    )  # whose job it is
    gpu_seconds = models.BigIntegerField()
    taken_at = models.DateTimeField(default=timezone.now, editable=False)
    released_at = models.DateTimeField(null=True, blank=True)

    objects = HoldQuerySet.as_manager()

    class Meta:
        ordering = ["taken_at"]
        constraints = [models.CheckConstraint(condition=Q(gpu_seconds__gte=0), name="hold_not_negative")]
        indexes = [models.Index(fields=["allocation"], condition=Q(released_at=None), name="open_holds")]

    def __str__(self) -> str:
        return f"{self.reference} {self.gpu_seconds}"


class LedgerEntry(models.Model):
    """One signed amount on an allocation. A mistake is corrected by another entry that `cites` it."""

    class Kind(models.TextChoices):
        GRANT = "grant", _("grant")
        CHARGE = "charge", _("charge")
        ADJUSTMENT = "adjustment", _("adjustment")
        REFUND = "refund", _("refund")
        TRANSFER = "transfer", _("transfer")
        EXPIRY = "expiry", _("expiry")

    allocation = models.ForeignKey(Allocation, models.PROTECT, related_name="entries")
    kind = models.CharField(max_length=10, choices=Kind)
    gpu_seconds = models.BigIntegerField()
    at = models.DateTimeField(default=timezone.now, editable=False)
    actor = models.ForeignKey(User, models.PROTECT, null=True, blank=True, related_name="+")
    reason = models.CharField(max_length=500, blank=True)
    review = models.ForeignKey(Review, models.PROTECT, null=True, blank=True, related_name="entries")
    tranche = models.ForeignKey(Tranche, models.PROTECT, null=True, blank=True, related_name="entries")
    usage_record = models.ForeignKey(
        UsageRecord, models.PROTECT, null=True, blank=True, related_name="entries"
    )
    factor = models.DecimalField(max_digits=8, decimal_places=4, null=True, blank=True)
    cites = models.ForeignKey("self", models.PROTECT, null=True, blank=True, related_name="cited_by")

    class Meta:
        ordering = ["at", "pk"]
        indexes = [models.Index(fields=["allocation", "-at", "-id"], name="entries_newest_first")]
        constraints = [
            models.UniqueConstraint(
                fields=["usage_record"], condition=Q(kind="charge"), name="one_charge_per_run"
            ),
            models.UniqueConstraint(
                fields=["review"], condition=Q(kind="grant", tranche=None), name="one_grant_per_review"
            ),
            models.UniqueConstraint(
                fields=["tranche"], condition=Q(kind="grant"), name="one_grant_per_tranche"
            ),
            # A decision, or a renewal's carry-over, moves hours once: out of one allocation, into another.
            models.UniqueConstraint(
                fields=["review", "allocation"], condition=Q(kind="transfer"), name="one_transfer_per_review"
            ),
            models.UniqueConstraint(
                fields=["cites"], condition=Q(kind="transfer"), name="one_arrival_per_departure"
            ),
            models.UniqueConstraint(
                fields=["usage_record"], condition=Q(kind="refund"), name="one_refund_per_run"
            ),
            models.CheckConstraint(
                name="entry_sign_fits_kind",
                condition=Q(kind="grant", gpu_seconds__gt=0)
                | Q(kind="refund", gpu_seconds__gt=0)
                | Q(kind="charge", gpu_seconds__lt=0, usage_record__isnull=False, factor__isnull=False)
                | Q(kind="expiry", gpu_seconds__lt=0)
                | Q(kind__in=("adjustment", "transfer")) & ~Q(gpu_seconds=0),
            ),
            models.CheckConstraint(
                name="correction_has_reason",
                condition=~Q(kind__in=("adjustment", "refund", "transfer")) | ~Q(reason=""),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.gpu_seconds}"
