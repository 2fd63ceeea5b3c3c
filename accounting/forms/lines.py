"""Hours by partition, as typed: one row for each partition, an empty one asks for nothing."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django import forms
from django.db.models import Q
from django.forms import BoundField
from django.utils import timezone
from django.utils.translation import gettext as _

from accounting.actions.requests import Line
from accounting.forms.fields import GpuHoursField
from accounting.models import Cluster, Partition


@dataclass(frozen=True)
class Row:
    """One partition's fields. `factor`: GPU-hours charged for one, today."""

    partition: Partition
    cluster: Cluster
    factor: Decimal
    hours: BoundField
    why: BoundField


class LinesForm(forms.Form):
    """A form with the fields hours_PK and why_PK of each partition that is wanted."""

    partitions: tuple[Partition, ...] = ()

    def add_rows(self, wanted: Q) -> None:
        found = Partition.objects.filter(wanted)
        self.partitions = tuple(found.select_related("cluster").prefetch_related("factors"))
        for partition in self.partitions:
            name = {"partition": partition.name}
            hours = GpuHoursField(label=_("GPU-hours on %(partition)s") % name, required=False)
            hours.widget.attrs["data-line"] = str(partition.pk)
            self.fields[f"hours_{partition.pk}"] = hours
            self.fields[f"why_{partition.pk}"] = forms.CharField(
                label=_("Why that many on %(partition)s") % name,
                required=False,
                max_length=2000,
                widget=forms.TextInput(attrs={"autocomplete": "off"}),
            )

    @property
    def rows(self) -> list[Row]:
        now = timezone.now()
        return [
            Row(
                partition,
                partition.cluster,
                partition.factor_at(now),
                self[f"hours_{partition.pk}"],
                self[f"why_{partition.pk}"],
            )
            for partition in self.partitions
        ]

    def lines_on(self, cluster: Cluster | None) -> list[Line]:
        """The rows of `cluster` that ask for something."""
        said: dict[str, Any] = self.cleaned_data
        return [
            Line(partition, said[f"hours_{partition.pk}"], said.get(f"why_{partition.pk}", ""))
            for partition in self.partitions
            if cluster and partition.cluster_id == cluster.pk and said.get(f"hours_{partition.pk}")
        ]
