"""The portal's own figures for Prometheus, read from the database at each scrape.

So it does not matter which of the many processes of gunicorn or Celery met what: they count in the database.
Requests are counted by django-prometheus, in files that gunicorn's processes share (`portal.web_processes`).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from django.conf import settings
from django.db.models import Count, Min, Q
from django.utils import timezone
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from accounting.models import Cluster
from jobs.maintenance import left_alone
from jobs.models import MAX_ATTEMPTS, ClusterHealth, Job
from jobs.signs import FailureCount, LoginNodeSign, Pulse
from jobs.states import UNFINISHED, State
from portal import readiness

WAITING = (State.NEW, State.SUBMITTING, State.QUEUED)


class Figures(Collector):
    """Seven queries, whatever the number of jobs; every figure by cluster."""

    def describe(self) -> Iterator[Metric]:
        """Nothing beforehand: registering must not ask the database."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        now = timezone.now()
        yield from _jobs(now)
        yield from _clusters(now)
        yield from _failures()
        yield from _programs(now)


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"firefly_{name}", text, labels=labels)


def _jobs(now: datetime) -> Iterator[Metric]:
    jobs = _gauge("jobs", "Unfinished jobs.", "cluster", "state")
    oldest = _gauge(
        "oldest_waiting_seconds", "Age of the oldest job in a state of waiting.", "cluster", "state"
    )
    aside = _gauge("jobs_set_aside", "Jobs that could not be sent so often that staff must look.", "cluster")
    counted = (
        Job.objects.unfinished()
        .order_by()
        .values_list("cluster__name", "state")
        .annotate(
            n=Count("pk"),
            first=Min("created_at"),
            aside=Count("pk", filter=Q(attempts__gte=MAX_ATTEMPTS, state=State.NEW)),
        )
    )
    found = {(cluster, state): rest for cluster, state, *rest in counted}
    for cluster in Cluster.objects.filter(accepts_jobs=True).values_list("name", flat=True):
        for state in UNFINISHED:
            n, first, set_aside = found.get((cluster, state), (0, None, 0))
            jobs.add_metric([cluster, state], n)
            if state in WAITING:
                oldest.add_metric([cluster, state], (now - first).total_seconds() if first else 0)
            if state == State.NEW:
                aside.add_metric([cluster], set_aside)
    yield from (jobs, oldest, aside)


def _clusters(now: datetime) -> Iterator[Metric]:
    poll = _gauge("poll_seconds", "How long the last good poll took.", "cluster")
    age = _gauge("last_answer_age_seconds", "Age of the last good answer.", "cluster")
    opened = _gauge("breaker_open", "1 while the cluster is not asked because it failed.", "cluster")
    bad = _gauge("bad_answers", "Bad answers since the last good one.", "cluster")
    alone = _gauge("maintenance", "1 while the cluster is under maintenance.", "cluster")
    maintained = set(left_alone())
    for health in ClusterHealth.objects.filter(cluster__accepts_jobs=True).select_related("cluster"):
        name = [health.cluster.name]
        if health.poll_seconds is not None:
            poll.add_metric(name, health.poll_seconds)
        if health.answered_at:
            age.add_metric(name, (now - health.answered_at).total_seconds())
        opened.add_metric(name, health.try_again_at is not None)
        bad.add_metric(name, health.failures)
        alone.add_metric(name, health.cluster_id in maintained)
    nodes = _gauge(
        "login_node_up", "1 if the login node let the portal in when it was last tried.", "cluster", "node"
    )
    for sign in LoginNodeSign.objects.select_related("cluster"):
        nodes.add_metric([sign.cluster.name, str(sign)], not sign.failing_since and not sign.distrusted_at)
    yield from (poll, age, opened, bad, alone, nodes)


def _failures() -> Iterator[Metric]:
    failures = CounterMetricFamily(
        "firefly_failures", "Bad answers of a cluster, by kind.", labels=("cluster", "kind")
    )
    for name, kind, count in FailureCount.objects.values_list("cluster__name", "kind", "count"):
        failures.add_metric([name, kind], count)
    yield failures


def _programs(now: datetime) -> Iterator[Metric]:
    seen = _gauge("program_seen_age_seconds", "Since beat or a worker was seen at work.", "program")
    for part, seen_at in Pulse.objects.values_list("part", "seen_at"):
        seen.add_metric([part], (now - seen_at).total_seconds())
    lengths, trouble = readiness.rings()
    up = _gauge("redis_up", "1 if Redis answers.")
    up.add_metric([], not trouble)
    rings = _gauge("rings_waiting", "Rings in Redis that no worker has taken.", "queue")
    for queue, length in lengths.items():
        rings.add_metric([queue], length)
    free = _gauge("uploads_free_bytes", "Free on the disk of the uploads.")
    where = Path(settings.UPLOAD_ROOT)
    if where.exists():
        free.add_metric([], shutil.disk_usage(where).free)
    yield from (seen, up, rings, free)
