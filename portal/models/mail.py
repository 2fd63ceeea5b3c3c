"""Mail on its way: written in the transaction of the deed, sent after it, once."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from portal.models.people import User


class OutgoingMailQuerySet(models.QuerySet["OutgoingMail"]):
    def waiting(self) -> OutgoingMailQuerySet:
        return self.filter(sent_at=None)


class OutgoingMail(models.Model):
    """One mail to one address. `key` names its reason: the same reason never mails the same person twice."""

    key = models.CharField(max_length=200, unique=True)
    to = models.EmailField()
    recipient = models.ForeignKey(User, models.CASCADE, null=True, blank=True, related_name="+")
    language = models.CharField(max_length=10)
    template = models.CharField(max_length=100)  # templates/emails/NAME.txt, whose first line is the subject
    context = models.JSONField(default=dict)
    written_at = models.DateTimeField(default=timezone.now, editable=False)
    sent_at = models.DateTimeField(null=True, blank=True)
    not_before = models.DateTimeField(default=timezone.now)  # of the next try
    failures = models.PositiveSmallIntegerField(default=0)
    problem = models.CharField(max_length=300, blank=True)

    objects = OutgoingMailQuerySet.as_manager()

    class Meta:
        ordering = ["written_at", "pk"]
        indexes = [models.Index(fields=["not_before"], condition=models.Q(sent_at=None), name="mail_to_send")]

    def __str__(self) -> str:
        return f"{self.template} to {self.to}"
