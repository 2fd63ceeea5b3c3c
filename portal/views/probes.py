"""For whatever watches the portal: is the process alive, and can it answer people. No log-in; nothing secret is told."""

from __future__ import annotations

import logging

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from portal import readiness

log = logging.getLogger(__name__)


@never_cache
@login_not_required
@require_safe
def healthz(_request: HttpRequest) -> HttpResponse:
    """The process is alive. Asks nobody: a database that is away is no reason to start the process again."""
    return HttpResponse("alive\n", content_type="text/plain")


@never_cache
@login_not_required
@require_safe
def readyz(_request: HttpRequest) -> JsonResponse:
    """200 if people can be answered, else 503. Without Redis they can: jobs are taken, and sent when it is back.

    The reasons, which may name hosts, stand in the log alone.
    """
    found = {"database": readiness.database()}
    if not found["database"]:
        found["migrations"] = readiness.migrations()
    needed = all(not trouble for trouble in found.values())
    found["redis"] = readiness.rings()[1]
    for part, trouble in found.items():
        if trouble:
            log.warning("not ready: %s: %s", part, trouble)
    parts = {part: "broken" if trouble else "ok" for part, trouble in found.items()}
    status = "unready" if not needed else "degraded" if "broken" in parts.values() else "ready"
    return JsonResponse({"status": status, **parts}, status=200 if needed else 503)
