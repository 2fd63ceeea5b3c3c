"""Log-ins that failed: what a slow-down against guessing has to remember."""

from __future__ import annotations

from datetime import timedelta

from django.db import models
from django.utils import timezone

WINDOW = timedelta(minutes=15)
TRIES = 10  # wrong passwords per address and account within the window


class FailedLogIn(models.Model):
    """One wrong try, also for an account that does not exist: an answer must not tell which do."""

    address = models.CharField(max_length=45)
    account = models.CharField(max_length=254)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes = [models.Index(fields=["address", "account", "at"], name="failed_log_ins")]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M} {self.address}"


def remember(address: str, account: str) -> None:
    """Keep one wrong try, and forget those that no longer count."""
    FailedLogIn.objects.filter(at__lt=timezone.now() - WINDOW).delete()
    FailedLogIn.objects.create(address=address, account=account)


def too_many(address: str, account: str) -> bool:
    since = timezone.now() - WINDOW
    return FailedLogIn.objects.filter(address=address, account=account, at__gte=since).count() >= TRIES
