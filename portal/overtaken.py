"""What a page does where somebody else was faster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.contrib import messages
from django.http import HttpRequest

from portal.transitions import Overtaken


@contextmanager
def told_if_overtaken(request: HttpRequest) -> Iterator[None]:
    """The person is told, and the view goes on after the block: it leads to where they see how things stand now."""
    try:
        yield
    except Overtaken as overtaken:
        messages.warning(request, str(overtaken))
