"""`manage.py reconcile --cluster firefly`: hold our sums against the scheduler's own books, now.

Exit code 0: every day agrees, or is explained. 1: something is open. 2: nothing is, but a day could not be compared.
"""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import date, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from accounting.models import Cluster, Discrepancy, Outcome, Reconciliation
from accounting.reconciling import NIGHTLY
from jobs.reconciling import reconcile

MOST_DAYS = 400
NOT_COMPARED = frozenset({Outcome.UNREAD, Outcome.BEHIND})


class Command(BaseCommand):
    help = (
        "Compare each account's GPU-seconds of each UTC day with what the cluster's scheduler adds up itself, and print "
        "what differs. Without days: the last eight that are over."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--cluster", required=True, help="the portal's name of the cluster")
        parser.add_argument("--from", dest="first", type=date.fromisoformat, help="the first day: 2026-11-01")
        parser.add_argument("--to", dest="last", type=date.fromisoformat, help="the last day; yesterday")

    def handle(self, *, cluster: str, first: date | None, last: date | None, **options: Any) -> None:
        known = Cluster.objects.filter(name=cluster).first()
        if known is None:
            raise CommandError(f"There is no cluster {cluster}.")
        days = _days(first, last)
        reconcile(known, days)
        compared = list(
            Reconciliation.objects.filter(cluster=known, day__in=days).with_counts().order_by("day")
        )
        self._print(compared, known, days)
        open_count = sum(one.open_count for one in compared)
        if open_count:
            raise CommandError(f"{open_count} differences are open.")
        if any(one.outcome in NOT_COMPARED for one in compared):
            raise CommandError("Not every day could be compared to its end.", returncode=2)

    def _print(self, compared: list[Reconciliation], cluster: Cluster, days: list[date]) -> None:
        self.stdout.write(f"{'day':<12}{'ours':>16}{'theirs':>16}  GPU-seconds")
        found = Discrepancy.objects.filter(cluster=cluster, day__in=days).exclude(
            state=Discrepancy.State.GONE
        )
        for one in compared:
            told = one.trouble or (f"until {one.until:%H:%M}" if one.outcome == Outcome.BEHIND else "")
            said = f"{one.outcome.value}{f': {told}' if told else ''}"
            self.stdout.write(f"{one.day!s:<12}{_figure(one.ours):>16}{_figure(one.theirs):>16}  {said}")
            for difference in (each for each in found if each.day == one.day):
                words = f"{difference.state} {difference.cause} {difference.explanation}".strip()
                figures = f"{difference.ours:>16,}{difference.theirs:>16,}"
                self.stdout.write(f"  {difference.account:<10}{figures}  {words}")


def _days(first: date | None, last: date | None) -> list[date]:
    last = last or timezone.now().date() - timedelta(days=1)
    first = first or last - timedelta(days=NIGHTLY - 1)
    count = (last - first).days + 1
    if not 0 < count <= MOST_DAYS:
        raise CommandError(f"Give 1 to {MOST_DAYS} days, the first one first.")
    return [first + timedelta(days=passed) for passed in range(count)]


def _figure(gpu_seconds: int | None) -> str:
    return "not known" if gpu_seconds is None else f"{gpu_seconds:,}"
