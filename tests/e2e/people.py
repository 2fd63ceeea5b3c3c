"""A person in front of a browser: what they do on every page, and what goes wrong behind their back."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from django.urls import resolve
from playwright.sync_api import Browser, ConsoleMessage, Page, Response, ViewportSize, WebError, expect

from tests.e2e.site import Site

LAPTOP = ViewportSize(width=1366, height=768)
A_PAGE_SAYS_NO = re.compile(r"Failed to load resource: the server responded with a status of 4\d\d")
CSRF_TOKEN = re.compile(r"[A-Za-z0-9]{64}")
NOT_PAGES = {
    "accounting:attachment",
    "accounting:letter",
    "accounting:report_csv",
    "accounting:usage_corrections_csv",
    "portal:audit_csv",
    "jobs:file",
    "jobs:picture",
    "mfa_download_recovery_codes",
}


def view_of(path: str) -> str:
    """Which page an address is: "jobs:detail", whatever the job."""
    return resolve(path.partition("?")[0]).view_name


@dataclass
class Person:
    name: str
    site: Site
    page: Page
    troubles: list[str] = field(default_factory=list)
    pages_refused: list[str] = field(default_factory=list)  # addresses of whole pages that answered 4xx

    @classmethod
    def with_browser(cls, browser: Browser, site: Site, name: str) -> Person:
        """A browser of their own: nobody's cookies but theirs."""
        fresh = browser.new_context(
            base_url=site.address, locale="en-GB", viewport=LAPTOP, reduced_motion="reduce"
        )
        person = cls(name, site, fresh.new_page())
        fresh.on("console", person._hear)
        fresh.on("response", person._see)
        fresh.on("weberror", person._stumble)
        return person

    def types_password(self) -> None:
        self.opens("/accounts/login/")
        self.page.get_by_label("E-mail").fill(self.site.emails[self.name])
        self.page.get_by_label("Password").fill(self.site.password)
        self.page.get_by_role("button", name="Log in", exact=True).click()

    def logs_in(self) -> None:
        self.types_password()
        expect(self.page.get_by_role("heading", name="Home")).to_be_visible()

    def opens(self, path: str) -> int:
        """Go to an address; the status of its answer."""
        answer = self.page.goto(path)
        assert answer is not None
        return answer.status

    def follows(self, name: str) -> None:
        """Click the link of this name."""
        self.page.get_by_role("link", name=name).first.click()

    def presses(self, name: str) -> None:
        self.page.get_by_role("button", name=name).click()

    def reads(self, words: str | re.Pattern[str]) -> None:
        """The words stand on the page, or come soon."""
        expect(self.page.get_by_text(words).first).to_be_visible()

    def finds(self, path: str) -> tuple[int, str]:
        """What an address answers, without looking at the page: status and text. The CSRF token is left out."""
        answer = self.page.request.get(path, max_redirects=0)
        return answer.status, CSRF_TOKEN.sub("", answer.text())

    def walks(self, alike: Callable[[str], str] = str) -> Iterator[str]:
        """Follow all links from Home on: the address of each page, while it is open. Of pages that are alike, one."""
        seen: set[str] = set()
        ahead = ["/"]
        while ahead:
            path = ahead.pop()
            if alike(path) in seen or view_of(path) in NOT_PAGES:
                continue
            seen.add(alike(path))
            assert self.opens(path) == 200, path
            links = self.page.locator("a[href]").evaluate_all("links => links.map(link => link.href)")
            ours = (
                link.removeprefix(self.site.address) for link in links if link.startswith(self.site.address)
            )
            ahead += [link.partition("#")[0] for link in ours]
            yield path

    def others(self) -> list[str]:
        return [name for name in self.site.emails if name != self.name]

    def _stumble(self, error: WebError) -> None:
        self.troubles.append(f"{error.page.url if error.page else ''}: {error.error}")

    def _see(self, answer: Response) -> None:
        if answer.status < 400:
            return
        if answer.status < 500 and answer.request.is_navigation_request():
            self.pages_refused.append(answer.url)
        else:
            self.troubles.append(f"{answer.status} for {answer.request.method} {answer.url}")

    def _hear(self, message: ConsoleMessage) -> None:
        """The browser complains itself about a page that was refused; the test has asked for that one."""
        if message.type != "error":
            return
        asked_for = message.location.get("url") in self.pages_refused
        if not (asked_for and A_PAGE_SAYS_NO.match(message.text)):
            self.troubles.append(f"{message.location.get('url')}: {message.text}")
