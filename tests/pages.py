"""What tests of pages say again and again."""

from __future__ import annotations

import html
import re
import time
from typing import Any

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from portal.models import User


def browser(user: User) -> Client:
    """A browser in which `user` has just logged in."""
    client = Client()
    log_in(client, user)
    return client


def log_in(client: Client, user: User) -> None:
    """As if by password, this minute: deeds that ask again who is there don't."""
    client.force_login(user)
    session = client.session
    session["account_authentication_methods"] = [{"method": "password", "at": time.time()}]
    session["account_authentication_methods_user"] = str(user.pk)
    session.save()


def words(response: Any) -> str:
    """The page's text as a person reads it: no tags, single plain spaces."""
    body = response.content.decode()
    body = re.sub(r"<(script|style|svg).*?</\1>", " ", body, flags=re.DOTALL)
    text = html.unescape(re.sub(r"<[^>]+>", "", body))
    return re.sub(r"\s+", " ", text)


def queries_of(client: Client, url: str) -> int:
    """How many queries a page takes, once the person is known."""
    client.get(url)
    with CaptureQueriesContext(connection) as queries:
        assert client.get(url).status_code == 200
    return len(queries)


def assert_like_nowhere(client: Client, url: str) -> None:
    """The answer is byte for byte the one for an address that does not exist."""
    answer, nowhere = client.get(url), client.get("/no/such/page/at/all/")
    assert answer.status_code == 404
    assert answer.content == nowhere.content
