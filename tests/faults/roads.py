"""The way to Redis, over a proxy: for the programs of the portal, and for this process, which is the web."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from django.conf import settings
from kombu import pools

from portal.celery import app
from tests.faults.proxy import Proxy


@contextmanager
def speak_to_redis_over() -> Iterator[Proxy]:
    """The only way to Redis for this process, until the end."""
    with Proxy(urlsplit(settings.REDIS_URL).port or 6379) as road:
        before = app.conf.broker_url
        _speak_to(through(road))
        try:
            yield road
        finally:
            _speak_to(before)


def through(road: Proxy) -> str:
    """The address of Redis over that road."""
    address = urlsplit(settings.REDIS_URL)
    return address._replace(netloc=address.netloc.replace(f":{address.port}", f":{road.port}")).geturl()


def _speak_to(url: str) -> None:
    pools.reset()
    app._pool = app.amqp._producer_pool = None  # type: ignore[attr-defined]  # made anew for the new address
    app.conf.update(broker_url=url)
