"""Can everybody use the open page? What axe-core finds, as far as it would keep somebody out."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

GRAVE = ("serious", "critical")
AXE = Axe()


def barriers(page: Page) -> list[str]:
    """Each grave finding in a line, with the first places where it stands."""
    found = AXE.run(page).response["violations"]
    return [
        f"{page.url}: {one['help']} ({one['id']}), {len(one['nodes'])} times: "
        + "; ".join(node["html"][:160] for node in one["nodes"][:3])
        for one in found
        if one["impact"] in GRAVE
    ]
