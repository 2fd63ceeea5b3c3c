"""Every page of every role: it comes, fits a phone, is worked by keyboard, and is light or dark as one likes.

With SCREENSHOTS set, a picture of each lands in the test instance's folder: ROLE-PAGE-WIDTH-SCHEME.png
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect

from tests.cluster.one_machine import SlurmCluster, until
from tests.e2e.people import LAPTOP, Person, view_of
from tests.e2e.site import Site

pytestmark = pytest.mark.e2e

PHONE = ViewportSize(width=360, height=740)
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
MOST_STOPS = 150  # of the Tab key: no page has more
OF_THE_LAB = {
    "home",
    "jobs:list",
    "jobs:detail",
    "accounting:projects",
    "accounting:project",
    "accounting:statement",
}
OF_THE_CENTRE = {*OF_THE_LAB, "accounting:queue", "accounting:request", "accounting:report"}
ROLES = {  # the role → who has it, and what their links lead to at least
    "member": ("Mei Lin", {*OF_THE_LAB, "jobs:submit"}),
    "pi": (
        "Ivo Brandt",
        {
            *OF_THE_LAB,
            "jobs:submit",
            "accounting:requests",
            "accounting:request",
            "accounting:request_new",
            "portal:people",
        },
    ),
    "institution-admin": (
        "Ada Moreau",
        {*OF_THE_LAB, "accounting:requests", "accounting:request", "accounting:request_new", "portal:people"},
    ),
    "staff": ("Sam Fischer", {*OF_THE_CENTRE, "portal:people", "jobs:clusters"}),
    "approver": ("Ann Keller", OF_THE_CENTRE),
    "funder": ("Fay Winter", {"home", "accounting:report"}),
}
WORKED_BY_KEYBOARD = {"pi", "staff"}  # together they have every page; each stop of the Tab key takes its time

BRIGHTNESS = """() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d");
  canvas.fillStyle = getComputedStyle(document.body).backgroundColor;
  canvas.fillRect(0, 0, 1, 1);
  const [red, green, blue] = canvas.getImageData(0, 0, 1, 1).data;
  return (0.2126 * red + 0.7152 * green + 0.0722 * blue) / 255;
}"""
FOCUSED = """async () => {
  const here = document.activeElement;
  if (!here || here === document.body) return null;
  const inSight = () => {
    const box = here.getBoundingClientRect();
    return box.width > 0 && box.height > 0 && box.bottom > 0 && box.top < innerHeight && box.right > 0;
  };
  for (let frame = 0; frame < 60 && !inSight(); frame++) await new Promise(requestAnimationFrame);  // it scrolls there
  const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(here);
  return {
    words: here.outerHTML.slice(0, 120),
    inSight: inSight(),
    rings: (outlineStyle !== "none" && parseFloat(outlineWidth) > 0) || boxShadow !== "none",
  };
}"""


@pytest.fixture(scope="module")
def a_job(chromium: Browser, portal_site: Site) -> Iterator[None]:
    """One job of the lab, so that its pages have something to show."""
    mei = Person.with_browser(chromium, portal_site, "Mei Lin")
    mei.logs_in()
    mei.opens("/jobs/new/")
    mei.presses("Use the sample “First steps”")
    expect(mei.page.locator("[data-file][data-id]")).not_to_have_count(0)
    mei.page.get_by_label("Name").fill("First steps")
    mei.page.get_by_role("radio").last.check()
    mei.page.get_by_role("spinbutton", name="GPUs").fill("1")
    mei.page.get_by_label("minutes").fill("5")
    mei.presses("Submit job")
    mei.reads("Your job is submitted")
    yield
    mei.page.context.close()
    assert not mei.troubles


@dataclass(frozen=True)
class Eye:
    """Looks at the open page; keeps a picture of what it sees, if somebody wants to look, too."""

    page: Page
    pictures: Path | None

    def looks(self, name: str) -> None:
        whole = self.page.locator("html")
        for size in (LAPTOP, PHONE):
            self.page.set_viewport_size(size)
            expect(whole).to_have_js_property("scrollWidth", size["width"])  # nothing hangs out sideways
            for scheme in SCHEMES:
                self.page.emulate_media(color_scheme=scheme)
                until(partial(self.is_in, scheme))
                self.keeps(f"{name}-{size['width']}-{scheme}")
        self.page.set_viewport_size(LAPTOP)
        expect(self.page.get_by_role("heading", level=1)).to_have_count(1)

    def is_in(self, scheme: str) -> bool:
        brightness: float = self.page.evaluate(BRIGHTNESS)
        return (brightness < 0.5) == (scheme == "dark")

    def keeps(self, name: str) -> None:
        if self.pictures:
            self.page.evaluate("scrollTo(0, 0)")
            self.page.screenshot(path=self.pictures / f"{name}.png", full_page=True)


@pytest.fixture
def eye_of(slurm_cluster: SlurmCluster) -> Callable[[Person], Eye]:
    pictures = slurm_cluster.state / "screenshots" if os.environ.get("SCREENSHOTS") else None
    if pictures:
        pictures.mkdir(exist_ok=True)
    return lambda person: Eye(person.page, pictures)


@pytest.mark.parametrize("role", ROLES)
def test_every_page(
    role: str, a_job: None, as_person: Callable[[str], Person], eye_of: Callable[[Person], Eye]
) -> None:
    name, least = ROLES[role]
    person = as_person(name)
    eye = eye_of(person)
    seen = set()
    for path in person.walks(alike=view_of):
        seen.add(view_of(path))
        if role in WORKED_BY_KEYBOARD:
            works_by_keyboard(person.page)
        eye.looks(f"{role}-{view_of(path).replace(':', '-')}")
    assert least <= seen, f"no link leads to {least - seen}"


@pytest.mark.parametrize(
    "path", ["/accounts/login/", "/accounts/password_reset/", "/accounts/password_reset/done/"]
)
def test_pages_before_the_log_in(
    path: str, in_a_browser: Callable[[str], Person], eye_of: Callable[[Person], Eye]
) -> None:
    somebody = in_a_browser("nobody")
    assert somebody.opens(path) == 200
    eye_of(somebody).looks("nobody-" + view_of(path))


@pytest.mark.parametrize(("path", "status"), [("/jobs/987654321/", 404), ("/requests/queue/", 403)])
def test_pages_that_say_no(
    path: str, status: int, as_person: Callable[[str], Person], eye_of: Callable[[Person], Eye]
) -> None:
    mei = as_person("Mei Lin")
    assert mei.opens(path) == status
    eye_of(mei).looks(f"member-{status}")


def test_the_menu_of_a_phone(as_person: Callable[[str], Person], eye_of: Callable[[Person], Eye]) -> None:
    mei = as_person("Mei Lin")
    mei.page.set_viewport_size(PHONE)
    link = mei.page.get_by_role("link", name="Projects", exact=True)
    expect(link).not_to_be_in_viewport()
    mei.presses("Menu")
    expect(link).to_be_in_viewport()
    eye_of(mei).keeps("member-menu-360-light")
    link.click()
    expect(mei.page.get_by_role("heading", name="Projects", level=1)).to_be_visible()


def works_by_keyboard(page: Page) -> None:
    """The first stop skips to the content; every stop is in sight and has a ring around it."""
    if page.evaluate("document.activeElement === document.body"):  # a short form may begin in its first field
        page.keyboard.press("Tab")
        skip = page.get_by_role("link", name="Skip to the content")
        expect(skip).to_be_focused()
        expect(skip).to_be_in_viewport()
    for _ in range(MOST_STOPS):
        page.keyboard.press("Tab")
        stop = page.evaluate(FOCUSED)
        if stop is None:
            return
        assert stop["inSight"], f"{page.url}: focused, and not in sight: {stop['words']}"
        assert stop["rings"], f"{page.url}: focused, and nothing shows it: {stop['words']}"
    raise AssertionError(f"{page.url}: the Tab key never leaves the page")
