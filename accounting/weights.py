"""Weighted hours: device-hours of different GPU types made comparable. Two figures always, side by side (R11)."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import date
from fractions import Fraction

from accounting.models import Cluster, GpuWeight

ONE = Fraction(1)


@dataclass(frozen=True)
class Weights:
    """Of one cluster. `by_type`: for each GPU type (first day, weight), the latest day first."""

    by_type: dict[str, list[tuple[date, Fraction]]]
    shards_per_gpu: int | None

    def weight(self, gpu_type: str, day: date) -> Fraction:
        """Before its first day a type weighs 1; so does one without a weight."""
        return next((weight for first, weight in self.by_type.get(gpu_type, ()) if first <= day), ONE)

    def weighted(self, gpu_type: str, day: date, gpu_seconds: int, shard_seconds: int = 0) -> Fraction:
        """Exact: to be rounded once, when everything is summed."""
        shards = Fraction(shard_seconds, self.shards_per_gpu) if self.shards_per_gpu else Fraction()
        return gpu_seconds * self.weight(gpu_type, day) + shards


def weights() -> dict[str, Weights]:
    """Every cluster's, by its name: two queries."""
    by_cluster: dict[int, dict[str, list[tuple[date, Fraction]]]] = defaultdict(lambda: defaultdict(list))
    for one in GpuWeight.objects.order_by("-valid_from"):
        by_cluster[one.cluster_id][one.gpu_type].append((one.valid_from, Fraction(one.weight)))
    return {
        cluster.name: Weights(dict(by_cluster[cluster.pk]), cluster.shards_per_gpu)
        for cluster in Cluster.objects.all()
    }
