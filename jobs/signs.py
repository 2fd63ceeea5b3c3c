"""Signs of life along the road to the clusters, as the programs noted them: what the staff's page and the metrics show."""

from __future__ import annotations

from django.db import models
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounting.models import Cluster


class Link(models.TextChoices):
    """A part of the road behind the worker that can break by itself, in the order in which a question passes them."""

    SETTINGS = "settings", _("clusters.toml and key")
    SSH = "ssh", _("SSH")
    GATEWAY = "gateway", _("gateway")
    SLURMCTLD = "slurmctld", _("slurmctld")
    SLURMDBD = "slurmdbd", _("slurmdbd")


class FailureKind(models.TextChoices):
    """How a cluster failed to answer, as the metrics count it."""

    SETTINGS = "settings", _("settings")
    UNREACHABLE = "unreachable", _("unreachable")
    REFUSED = "refused", _("log-in refused")
    HOST_KEY = "host_key", _("host key changed")
    INTERRUPTED = "interrupted", _("interrupted")
    GATEWAY = "gateway", _("gateway")
    SCHEDULER = "scheduler", _("scheduler")
    ACCOUNTING = "accounting", _("accounting")


class Pulse(models.Model):
    """When a program of the portal's was last seen at work. Beat notes its own; a worker does when a ring reaches it."""

    class Part(models.TextChoices):
        BEAT = "beat", _("clock")
        QUICK = "quick", _("worker")
        FILES = "files", _("worker for files")

    part = models.CharField(max_length=5, choices=Part, unique=True)
    seen_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.part

    @classmethod
    def note(cls, part: str) -> None:
        cls.objects.update_or_create(part=part, defaults={"seen_at": timezone.now()})


class FailureCount(models.Model):
    """How often a cluster failed in one way, ever. Kept here, so that it only rises whichever worker met it."""

    cluster = models.ForeignKey(Cluster, models.CASCADE, related_name="failure_counts")
    kind = models.CharField(max_length=12, choices=FailureKind)
    count = models.PositiveBigIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["cluster", "kind"], name="one_count_per_kind")]

    def __str__(self) -> str:
        return f"{self.cluster}: {self.kind}"

    @classmethod
    def rise(cls, cluster: Cluster, kind: str) -> None:
        row, _new = cls.objects.get_or_create(cluster=cluster, kind=kind)
        cls.objects.filter(pk=row.pk).update(count=F("count") + 1)


class LoginNodeSign(models.Model):
    """How a login node was last met. A row is of a node with its pinned key: pinned anew, it is another one."""

    cluster = models.ForeignKey(Cluster, models.CASCADE, related_name="login_node_signs")
    host = models.CharField(max_length=255)
    port = models.PositiveIntegerField()
    host_key = models.CharField(max_length=2000)  # as pinned, "ssh-ed25519 AAAA…"
    tried_at = models.DateTimeField()
    failing_since = models.DateTimeField(null=True, blank=True)  # empty: it let the portal in
    problem = models.CharField(max_length=300, blank=True)
    behind_until = models.DateTimeField(null=True, blank=True)  # until then, the others are tried first
    distrusted_at = models.DateTimeField(null=True, blank=True)  # its host key was another: no login

    class Meta:
        ordering = ["cluster", "host", "port", "pk"]
        constraints = [
            models.UniqueConstraint(fields=["cluster", "host", "port", "host_key"], name="one_sign_per_node")
        ]

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def key(self) -> str:
        return f"node-{self.pk}"
