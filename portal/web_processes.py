"""gunicorn's configuration (`--config python:portal.web_processes`): its processes count requests together.

Each start has a folder of its own for the counts, so that none is left over from the start before.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import Any

os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="firefly-metrics-")

from prometheus_client import multiprocess  # as it is imported, it looks at the variable


def child_exit(_server: Any, worker: Any) -> None:
    """What a process that ended counted stays; what it was doing just then does not."""
    multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def on_exit(_server: Any) -> None:
    shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"], ignore_errors=True)
