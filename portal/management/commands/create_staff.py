"""`manage.py create_staff sam@centre.example "Sam Fischer"`: the first of the centre's staff, or one who was locked out."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from portal.registering import first_link, make_staff


class Command(BaseCommand):
    help = (
        "Make a person centre staff, and print a link on which they set a password: once, within three days."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("email")
        parser.add_argument("name")

    def handle(self, *, email: str, name: str, **options: Any) -> None:
        try:
            user = make_staff(email, name)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from None
        self.stdout.write(first_link(user))
