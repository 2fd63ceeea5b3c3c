"""Looking at a page as different people do: on a laptop, on a phone, in the light and in the dark.

With SCREENSHOTS set, a picture of each lands in the test instance's folder: NAME-WIDTH-SCHEME.png
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from playwright.sync_api import Page, ViewportSize, expect

from tests.cluster.one_machine import until
from tests.e2e.access import barriers
from tests.e2e.people import LAPTOP

PHONE = ViewportSize(width=360, height=740)
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
BRIGHTNESS = """() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d");
  canvas.fillStyle = getComputedStyle(document.body).backgroundColor;
  canvas.fillRect(0, 0, 1, 1);
  const [red, green, blue] = canvas.getImageData(0, 0, 1, 1).data;
  return (0.2126 * red + 0.7152 * green + 0.0722 * blue) / 255;
}"""


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
                if size is LAPTOP:
                    assert not (found := barriers(self.page)), "\n".join(found)
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
