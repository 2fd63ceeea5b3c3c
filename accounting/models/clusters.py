"""What can be allocated: clusters and their partitions, with a price. No host names, no keys."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from django.core.validators import MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _


class Cluster(models.Model):
    """A machine under one scheduler. `name` is what the scheduler calls itself in its accounting."""

    name = models.SlugField(max_length=40, unique=True)
    title = models.CharField(_("title"), max_length=100)
    accepts_jobs = models.BooleanField(
        default=False, help_text=_("Off for clusters of which the portal only keeps the accounting.")
    )
    accounts_need_approval = models.BooleanField(
        default=False, help_text=_("Whether the centre's staff approve each POSIX user before it is made.")
    )

    shards_per_gpu = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_(
            "How many shards of a shared GPU weigh as much as the whole one. Empty: shards weigh nothing."
        ),
    )

    usage_version = models.PositiveBigIntegerField(default=0, editable=False)  # +1 with each change of usage

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.title or self.name


class Partition(models.Model):
    """Nodes of one GPU type in one tier. Tiers are partitions over the same nodes."""

    class Tier(models.TextChoices):
        URGENT = "urgent", _("urgent")
        STANDARD = "standard", _("standard")
        PREEMPTIBLE = "preemptible", _("preemptible")

    cluster = models.ForeignKey(Cluster, models.PROTECT, related_name="partitions")
    name = models.CharField(_("name"), max_length=60)
    gpu_type = models.CharField(_("GPU type"), max_length=40)
    tier = models.CharField(_("tier"), max_length=20, choices=Tier, default=Tier.STANDARD)
    node_count = models.PositiveIntegerField(_("nodes"), validators=[MinValueValidator(1)])
    gpus_per_node = models.PositiveIntegerField(_("GPUs per node"), validators=[MinValueValidator(1)])
    cpus_per_gpu = models.PositiveIntegerField(_("CPU cores per GPU"), validators=[MinValueValidator(1)])
    memory_per_gpu_mib = models.PositiveIntegerField(
        _("memory per GPU (MiB)"), validators=[MinValueValidator(1)]
    )
    max_time_minutes = models.PositiveIntegerField(
        _("longest time limit (minutes)"), validators=[MinValueValidator(1)]
    )

    class Meta:
        ordering = ["cluster", "name"]
        constraints = [models.UniqueConstraint(fields=["cluster", "name"], name="partition_in_cluster")]

    def __str__(self) -> str:
        return self.name

    @property
    def gpu_count(self) -> int:
        return self.node_count * self.gpus_per_node

    @property
    def gpu_label(self) -> str:
        return self.gpu_type.upper()

    def nodes_for(self, gpus: int) -> int:
        """How many nodes a job of so many GPUs takes."""
        return -(-gpus // self.gpus_per_node)

    def factor_at(self, moment: datetime) -> Decimal:
        """GPU-seconds charged for one GPU-second that starts at `moment`; 1 where no price is set."""
        prices = [price for price in self.factors.all() if price.valid_from <= moment]
        return max(prices, key=lambda price: price.valid_from).factor if prices else Decimal(1)


class ChargeFactor(models.Model):
    """The price of a partition from a moment on. A new price is a new row: what was charged stays charged."""

    partition = models.ForeignKey(Partition, models.PROTECT, related_name="factors")
    factor = models.DecimalField(max_digits=8, decimal_places=4, validators=[MinValueValidator(0)])
    valid_from = models.DateTimeField()

    class Meta:
        ordering = ["partition_id", "valid_from"]  # by the name of the cluster would join three tables
        constraints = [
            models.UniqueConstraint(fields=["partition", "valid_from"], name="one_factor_at_a_time"),
            models.CheckConstraint(condition=models.Q(factor__gte=0), name="factor_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.partition} × {self.factor.normalize():f}"


class GpuWeight(models.Model):
    """How much an hour of a GPU type weighs from a day on, beside others: reports show device-hours and weighted hours.

    No type: devices without a known one. A type without a weight weighs 1; a MIG slice is a type of its own.
    """

    cluster = models.ForeignKey(Cluster, models.CASCADE, related_name="weights")
    gpu_type = models.CharField(_("GPU type"), max_length=40, blank=True)
    weight = models.DecimalField(max_digits=10, decimal_places=6, validators=[MinValueValidator(0)])
    valid_from = models.DateField()

    class Meta:
        ordering = ["cluster", "gpu_type", "valid_from"]
        constraints = [
            models.UniqueConstraint(
                fields=["cluster", "gpu_type", "valid_from"], name="one_weight_at_a_time"
            ),
            models.CheckConstraint(condition=models.Q(weight__gte=0), name="weight_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.gpu_type or '-'} × {self.weight.normalize():f}"
