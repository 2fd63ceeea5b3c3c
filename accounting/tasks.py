"""Doorbells of the accounting. Each may ring twice, late or never: what is due is found in the database."""

from celery import shared_task
from django.utils import timezone

from accounting import budgets, lifetimes, months


@shared_task
def keep_allocations() -> None:
    lifetimes.keep(timezone.now().date())
    budgets.tell_missed()


@shared_task
def close_months() -> None:
    """As the clusters' policies say."""
    months.close_due()
