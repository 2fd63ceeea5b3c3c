"""`manage.py register centre.toml`: clusters, partitions and prices, funders, institutions, labs, projects and people."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounting.registering import register
from accounting.registry import RegistryErrors, read
from portal.registering import first_link


class Command(BaseCommand):
    help = (
        "Make the database say what the file says; docs/register.example.toml is such a file. All of it or nothing; "
        "twice is once; nothing is taken away. Prints a link for each person in it who has no password yet."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path)

    def handle(self, *, file: Path, **options: Any) -> None:
        try:
            outcome = register(read(file.read_text(encoding="utf-8")))
        except OSError as error:
            raise CommandError(f"Can't read {file}: {error.strerror}.") from None
        except UnicodeDecodeError:
            raise CommandError(f"{file} is not UTF-8.") from None
        except RegistryErrors as error:
            raise CommandError("\n".join([f"{file} was not taken:", *error.sentences])) from None
        self.stdout.write(f"{outcome.new} new, {outcome.changed} changed, {outcome.unchanged} unchanged.")
        for user in outcome.people:
            if not user.has_usable_password():
                self.stdout.write(f"{user.email}  {first_link(user)}")
