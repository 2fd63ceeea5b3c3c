"""/metrics, for Prometheus: whoever has the token, or sits on this machine where none is set. To others it is not there."""

from __future__ import annotations

import os

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from jobs.measures import Figures

HERE = ("127.0.0.1", "::1")


@never_cache
@login_not_required
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    if not _may_read(request):
        raise Http404
    own = CollectorRegistry()
    own.register(Figures())
    return HttpResponse(_requests() + generate_latest(own), content_type=CONTENT_TYPE_LATEST)


def _requests() -> bytes:
    """What django-prometheus counted: in all of gunicorn's processes, or in this one where it is alone."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(REGISTRY)
    shared = CollectorRegistry()
    MultiProcessCollector(shared)  # type: ignore[no-untyped-call]
    return generate_latest(shared)


def _may_read(request: HttpRequest) -> bool:
    if settings.METRICS_TOKEN:
        return constant_time_compare(
            request.headers.get("Authorization", ""), f"Bearer {settings.METRICS_TOKEN}"
        )
    # What a proxy on this machine passes on comes from elsewhere.
    return request.META.get("REMOTE_ADDR") in HERE and "X-Forwarded-For" not in request.headers
