"""The portal as gunicorn serves it; a request that asks for it is told how many queries its answer took.

No other request passes through anything but the portal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from django.conf import settings
from django.db import connection

from portal.wsgi import application as portal

HEADER = "X-Queries"
settings.ACCOUNT_REAUTHENTICATION_TIMEOUT = (
    86_400  # the last page is measured long after the people logged in
)


class Counter:
    def __init__(self) -> None:
        self.queries = 0

    def __call__(self, execute: Callable[..., Any], *asked: Any) -> Any:
        self.queries += 1
        return execute(*asked)


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    if "HTTP_X_QUERIES" not in environ:
        return portal(environ, start_response)
    counter = Counter()
    begun: Any = []

    def keep(status: str, headers: list[tuple[str, str]], *_: Any) -> Any:
        begun.append((status, headers))

    with connection.execute_wrapper(counter):
        body = b"".join(portal(environ, keep))
    [(status, headers)] = begun
    start_response(status, [*headers, (HEADER, str(counter.queries))])
    return [body]
