"""`manage.py moves`: docs/moves.md, made from the models' tables of moves."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand
from django.utils import translation

from portal.diagrams import page
from portal.models.moves import Moving


class Command(BaseCommand):
    help = "Print docs/moves.md: a diagram of every model's table of moves."
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        with translation.override("en"):
            self.stdout.write(
                page(model for model in apps.get_models() if issubclass(model, Moving)), ending=""
            )
