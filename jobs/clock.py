"""Beat's scheduler, which notes in the database that it is alive: also while Redis, and with it every ring, is away."""

from __future__ import annotations

import logging
import time
from typing import Any

from celery.beat import PersistentScheduler
from django.db import DatabaseError, connection

from jobs.signs import Pulse

log = logging.getLogger(__name__)

EVERY = 10  # seconds


class Clock(PersistentScheduler):
    """The usual scheduler; the database can't stop it."""

    noted = float("-inf")

    def tick(self, *args: Any, **kwargs: Any) -> float:
        if time.monotonic() - self.noted >= EVERY:
            self.noted = time.monotonic()
            _note()
        until_next: float = super().tick(*args, **kwargs)
        return min(until_next, EVERY)


def _note() -> None:
    try:
        Pulse.note(Pulse.Part.BEAT)
    except DatabaseError as error:
        log.warning("the clock could not note that it is alive: %s", error)
        connection.close()  # the next one begins with a connection that is whole
