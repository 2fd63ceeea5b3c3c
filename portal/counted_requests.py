"""django-prometheus's counts, for requests of any kind."""

from __future__ import annotations

from contextlib import suppress

from django.http import HttpRequest
from django_prometheus.middleware import PrometheusAfterMiddleware


class CountingMiddleware(PrometheusAfterMiddleware):  # type: ignore[misc]  # django-prometheus has no types
    """It takes Content-Length for a number, and would answer 500 to one that is none: such a request has no size."""

    def process_request(self, request: HttpRequest) -> None:
        with suppress(ValueError):
            super().process_request(request)
