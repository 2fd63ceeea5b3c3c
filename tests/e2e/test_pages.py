"""Every page of every role: it comes, fits a phone, is worked by keyboard, shuts nobody out, and is light or dark as one likes.

With SCREENSHOTS set, the pictures are named ROLE-PAGE: see tests/e2e/eye.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.eye import PHONE, Eye
from tests.e2e.people import NOT_PAGES, Person, view_of
from tests.e2e.site import Site
from tests.every_url import ROWS

pytestmark = pytest.mark.e2e

MOST_STOPS = 150  # of the Tab key: no page has more
OF_ONESELF = {
    "account",
    "account_change_password",
    "account_email",
    "mfa_activate_totp",
    "mfa_add_webauthn",
    "mfa_index",
    "usersessions_list",
}
OF_THE_LAB = {
    "home",
    "jobs:list",
    "jobs:detail",
    "accounting:projects",
    "accounting:project",
    "accounting:allocation",
    "accounting:statement",
    *OF_ONESELF,
}
OF_THE_CENTRE = {
    *OF_THE_LAB,
    "accounting:queue",
    "accounting:request",
    "accounting:report",
    "accounting:calls",
    "accounting:policies",
}
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
            "accounting:calls",
            "portal:people",
        },
    ),
    "institution-admin": (
        "Ada Moreau",
        {*OF_THE_LAB, "accounting:requests", "accounting:request", "accounting:request_new", "portal:people"},
    ),
    "staff": (
        "Sam Fischer",
        {
            *OF_THE_CENTRE,
            "accounting:call_new",
            "accounting:call_edit",
            "accounting:policy",
            "portal:people",
            "jobs:clusters",
        },
    ),
    "approver": ("Ann Keller", OF_THE_CENTRE),
    "funder": ("Fay Winter", {"home", "accounting:report", *OF_ONESELF}),
}
WORKED_BY_KEYBOARD = {"pi", "staff"}  # together they have every page; each stop of the Tab key takes its time

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
    for path in without_a_link(person, seen):
        assert person.opens(path) == 200, path
        eye.looks(f"{role}-{view_of(path).replace(':', '-')}")


def without_a_link(person: Person, seen: set[str]) -> Iterator[str]:
    """Pages of the table of addresses to which no link has led: whole pages, of nothing in particular."""
    in_the_table = person.name.split()[0].lower()
    for row in ROWS:
        opens = row.method == "GET" and row.answers[in_the_table] == 200 and not row.is_api
        if opens and "<" not in row.address and view_of(row.address) not in {*seen, *NOT_PAGES}:
            status, text = person.finds(row.address)
            if status == 200 and "<html" in text:
                yield row.address


@pytest.mark.parametrize(
    "path",
    [
        "/accounts/login/",
        "/accounts/signup/",
        "/accounts/confirm-email/",
        "/accounts/password/reset/",
        "/accounts/password/reset/done/",
    ],
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
