"""Ring a task once the transaction stands. A ring that fails is no loss: the sweep finds what was missed."""

from __future__ import annotations

import logging
from typing import Any

from celery import Task
from django.db import transaction
from kombu.exceptions import OperationalError

log = logging.getLogger(__name__)


def ring(task: Task[Any, Any], *args: int | str) -> None:
    """After commit, ask a worker to run `task` with these ids. Never fails, whatever Redis does."""

    def send() -> None:
        try:
            task.apply_async(args, retry=False)
        except OperationalError as error:
            log.warning("doorbell %s not heard: %s", task.name, error)

    transaction.on_commit(send)
