"""Every page of something in particular, in a browser: it shuts nobody out and fits a phone, whether a link leads there or not.

The pages come from the table of every address, and the things in them are those of its tests. Pages of nothing in
particular are looked at in tests/e2e, in the running portal.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from playwright.sync_api import Browser, sync_playwright
from pytest_django.live_server_helper import LiveServer

from tests.asking import browser_of, filled
from tests.belongings import World
from tests.e2e.conftest import QUIETLY
from tests.e2e.eye import Eye
from tests.every_url import PEOPLE, ROWS, Row

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]

Visit = tuple[str, str]  # an address, and the session of whom it lets in


@pytest.fixture
def visits(world: World) -> list[Visit]:
    """Of each page one, as the first person who may open it. The database is not touched any more once a browser runs."""
    return [visit for row in ROWS if "<" in row.address and not row.is_api for visit in _visits(row, world)]


@pytest.fixture
def chromium(visits: list[Visit]) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=QUIETLY)
        yield browser
        browser.close()


def test_every_page_of_a_thing_is_for_everybody(
    visits: list[Visit], live_server: LiveServer, chromium: Browser
) -> None:
    troubles: dict[str, str] = {}
    for address, session in visits:
        here = chromium.new_context(base_url=live_server.url, locale="en-GB", reduced_motion="reduce")
        here.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": session, "url": live_server.url}])
        page = here.new_page()
        answer = page.goto(address)
        assert answer is not None
        assert answer.status == 200, address
        try:
            Eye(page, _pictures()).looks(address.strip("/").replace("/", "-"))
        except AssertionError as trouble:
            troubles[address] = str(trouble)
        here.close()
    assert len(visits) > 40
    assert not troubles, "\n\n".join(f"{address}: {trouble}" for address, trouble in troubles.items())


def _visits(row: Row, world: World) -> Iterator[Visit]:
    name = next((name for name in PEOPLE if row.method == "GET" and row.answers[name] == 200), None)
    if name is None:
        return
    url = filled(row.address, world.optics.values(row.address))
    answer: Any = browser_of(world.people[name]).get(url)
    if b"<html" in b"".join(answer):  # not a file, nor a part of a page
        yield url, browser_of(world.people[name]).cookies[settings.SESSION_COOKIE_NAME].value


def _pictures() -> Path | None:
    if not os.environ.get("SCREENSHOTS"):
        return None
    folder = Path(os.environ["FIREFLY_TEST_STATE"]) / "screenshots"
    folder.mkdir(exist_ok=True)
    return folder
