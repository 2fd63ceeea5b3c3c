"""The setting OIDC_PROVIDERS: which other places people may log in with. Knows no Django models: the settings read it.

    [{"id": "northlake", "name": "Northlake University", "server_url": "https://login.northlake.example",
      "client_id": "portal", "secret": "…"}]

A person's log-in is kept as (id, subject): an id stands for one issuer for ever.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

NEEDED = ("id", "name", "server_url", "client_id", "secret")
KNOWN = {*NEEDED, "log_in_page"}
ID = re.compile(r"[a-z][a-z0-9-]{0,49}\Z")


def read(given: Any) -> list[dict[str, Any]]:
    """As django-allauth wants them, or a stop that says what is wrong."""
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        raise ImproperlyConfigured("OIDC_PROVIDERS is not a list of objects. See docs/install.md.")
    ids = [one.get("id") for one in given]
    if len(set(ids)) != len(ids):
        raise ImproperlyConfigured("OIDC_PROVIDERS has an id twice.")
    return [_app(one) for one in given]


def _app(one: Mapping[str, Any]) -> dict[str, Any]:
    missing = [name for name in NEEDED if not (isinstance(one.get(name), str) and one[name])]
    if missing or set(one) - KNOWN:
        wrong = ", ".join([*missing, *(set(one) - KNOWN)])
        raise ImproperlyConfigured(f"OIDC_PROVIDERS, {one.get('id', 'without id')}: look at {wrong}.")
    if not ID.match(one["id"]):
        raise ImproperlyConfigured(f"OIDC_PROVIDERS: {one['id']!r} is no id; use a-z, 0-9 and dashes.")
    return {
        "provider_id": one["id"],
        "name": one["name"],
        "client_id": one["client_id"],
        "secret": one["secret"],
        "settings": {
            "server_url": one["server_url"].rstrip("/"),
            "log_in_page": one.get("log_in_page", one["server_url"]),
        },
    }


def addresses(apps: Iterable[Mapping[str, Any]]) -> list[str]:
    """Where their log-in pages lie: a scheme and a host each."""
    found = (urlsplit(app["settings"]["log_in_page"]) for app in apps)
    return sorted({f"{page.scheme}://{page.netloc}" for page in found})
