"""`manage.py check_balances`: do balances, holds and days follow from the facts? Prints what does not, and exits with 1."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from jobs.balance_checks import found


class Command(BaseCommand):
    help = (
        "Reckon charges, refunds, grants, transfers, holds and usage by day anew from the facts, and print where what is "
        "stored differs, in GPU-seconds. Changes nothing; exits with 1 if anything differs."
    )

    def handle(self, **options: Any) -> None:
        differences = found()
        for one in differences:
            self.stdout.write(f"{one.kind} of {one.subject}: {one.expected} by the facts, {one.found} found")
        if differences:
            raise CommandError(f"{len(differences)} differ.")
        self.stdout.write("Every balance, hold and day follows from the facts.")
