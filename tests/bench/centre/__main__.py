"""`python -m tests.bench.centre`: fill the database that DATABASE_URL names, and say how much there is now."""

from __future__ import annotations

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
django.setup()

from django.apps import apps  # noqa: E402
from django.db import connection, transaction  # noqa: E402

from tests.bench.centre import hours, people, runs  # noqa: E402

TOLD = (
    "institution",
    "lab",
    "project",
    "user",
    "allocation",
    "allocationrequest",
    "job",
    "ledgerentry",
    "usageday",
    "auditevent",
)


def main() -> None:
    with transaction.atomic():
        places = people.fill()
        runs.fill(places, hours.fill(places))
    with connection.cursor() as cursor:
        # As any database in use has done long since.
        cursor.execute("VACUUM ANALYZE" if connection.vendor == "postgresql" else "ANALYZE")
    for model in apps.get_models():
        if model._meta.model_name in TOLD:
            print(f"{model._default_manager.count():>9,} {model._meta.verbose_name_plural}")


main()
