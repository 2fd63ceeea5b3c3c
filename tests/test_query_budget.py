"""No page takes more than fifteen queries of anybody, who is there included: walked from the table of every address."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounting.actions.requests import submit_request
from accounting.actions.reviews import return_request
from accounting.models import AllocationRequest
from tests.asking import browser_of, filled, parameters_of, undone
from tests.belongings import World
from tests.every_url import PEOPLE, ROWS, Row

MOST = 15


@pytest.mark.parametrize("name", PEOPLE)
def test_no_page_takes_more_than_fifteen_queries(name: str, world: World) -> None:
    client = browser_of(world.people[name])
    mine = client.cookies[settings.SESSION_COOKIE_NAME].value
    over = []
    for row in (row for row in ROWS if row.method == "GET" and row.answers[name] == 200):
        client.cookies.load({settings.SESSION_COOKIE_NAME: mine})  # a link of somebody else's logs out
        count = _queries(client, _url(row, world))
        if count > MOST:
            over.append(f"{row} as {name}: {count} queries")
    assert not over, "\n".join(over)


def test_what_the_centre_said_beside_fields_takes_no_more(world: World) -> None:
    ivo, sam, asked = world.people["ivo"], world.people["sam"], world.optics.waiting
    return_request(by=sam, request=asked, comment="Say more.", field_comments={"justification": "Why?"})
    assert _queries(browser_of(ivo), f"/requests/{asked.pk}/edit/") <= MOST
    submit_request(by=ivo, request=AllocationRequest.objects.get(pk=asked.pk))
    assert _queries(browser_of(ivo), f"/requests/{asked.pk}/") <= MOST
    assert _queries(browser_of(sam), f"/requests/{asked.pk}/") <= MOST


def _url(row: Row, world: World) -> str:
    return filled(row.address, world.optics.values(row.address) if parameters_of(row.address) else {})


def _queries(client: Client, url: str) -> int:
    with undone(), CaptureQueriesContext(connection) as queries:
        answer: Any = client.get(url)
        assert answer.status_code == 200, url
        b"".join(answer)  # what streams asks while it is read
    return len(queries)
