"""A security key, held by Chromium itself, is added on one's account's page and then asked for at the log-in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from playwright.sync_api import Browser, expect

from tests.e2e.people import Person
from tests.e2e.site import Site

pytestmark = pytest.mark.e2e

KEY = {
    "protocol": "ctap2",
    "transport": "usb",
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


@pytest.fixture
def tom(chromium: Browser, portal_site: Site) -> Iterator[Person]:
    """At the portal's name: browsers know no keys for a bare number."""
    by_name = replace(portal_site, address=portal_site.address.replace("127.0.0.1", "localhost"))
    tom = Person.with_browser(chromium, by_name, "Tom Okafor")
    browser = tom.page.context.new_cdp_session(tom.page)
    browser.send("WebAuthn.enable")
    browser.send("WebAuthn.addVirtualAuthenticator", {"options": KEY})
    yield tom
    tom.page.context.close()
    assert not tom.troubles


def test_a_key_is_added_asked_for_and_removed(tom: Person) -> None:
    tom.logs_in()
    tom.opens("/accounts/2fa/webauthn/add/")
    tom.page.get_by_label("Name of the key").fill("Blue key")
    tom.presses("Add the key")
    expect(tom.page.get_by_role("heading", name="Recovery codes")).to_be_visible()
    tom.presses("Your account, Tom Okafor")
    tom.presses("Log out")
    tom.reads("You are logged out")

    tom.types_password()
    expect(tom.page.get_by_role("heading", name="Second factor")).to_be_visible()
    tom.presses("Use your security key")
    expect(tom.page.get_by_role("heading", name="Home")).to_be_visible()

    tom.opens("/accounts/2fa/")
    tom.page.get_by_role("row", name=re.compile("Blue key")).get_by_role("link", name="Remove").click()
    tom.presses("Remove the key")
    tom.reads("The security key is removed.")
