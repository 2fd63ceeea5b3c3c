"""Asking for hours in a real browser: the form saves itself, adds up, and tells two tabs of each other."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.e2e.people import Person
from tests.e2e.site import Site

pytestmark = pytest.mark.e2e

HOURS = re.compile("GPU-hours on a100(?!-)")  # not of the partition a100-preemptible
FORM = "/projects/northlake-1/request/"
REASON, SOFTWARE = "What the hours are for", "Software"


@pytest.fixture
def ivo(chromium: Browser, portal_site: Site) -> Iterator[Person]:
    ivo = Person.with_browser(chromium, portal_site, "Ivo Brandt")
    ivo.logs_in()
    yield ivo
    ivo.page.context.close()
    assert not ivo.troubles


def test_a_request_saves_itself_and_loses_nothing(ivo: Person) -> None:
    ivo.opens(FORM)
    page = ivo.page
    page.get_by_label("Runs").fill("200")
    page.get_by_role("button", name="Take over").press("Enter")
    expect(page.get_by_label(HOURS)).to_have_value("8800")
    ivo.reads("Together 8\u202f800 GPU-hours to be charged.")
    page.get_by_label(REASON).fill("Two hundred runs.")
    ivo.reads(re.compile("Saved"))
    expect(page).to_have_url(re.compile(r"/requests/\d+/edit/$"))
    form = page.url
    page.get_by_label(SOFTWARE).fill("PyTorch, and this was typed on the way out.")
    page.get_by_label(HOURS).fill("lots")
    ivo.opens("/")

    tab = page.context.new_page()
    tab.goto(form)
    expect(tab.get_by_label(SOFTWARE)).to_have_value("PyTorch, and this was typed on the way out.")
    expect(tab.get_by_label(HOURS)).to_have_value("lots")
    page.goto(form)
    with tab.expect_response(re.compile("/autosave/")):
        tab.get_by_label(REASON).fill("From the other tab.")
    page.get_by_label(REASON).fill("From this tab.")
    ivo.reads("also changed elsewhere")
    tab.close()
    leaves_nothing(ivo, form)


def leaves_nothing(ivo: Person, form: str) -> None:
    ivo.opens(form.removesuffix("edit/"))
    ivo.page.get_by_role("button", name="Withdraw").click()
    ivo.page.get_by_role("dialog").get_by_role("button", name="Withdraw").click()
    ivo.reads("The request is withdrawn")
