"""What the pages of one's account say about second factors and browsers."""

from __future__ import annotations

from django import template
from django.utils.translation import gettext as _

from portal.accounts.second_factor import must_have_one
from portal.models import User

register = template.Library()

BROWSERS = (
    ("Edg/", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
SYSTEMS = (
    ("Android", "Android"), ("iPhone", "iPhone"), ("iPad", "iPad"), ("Windows", "Windows"), ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)  # fmt: skip


@register.filter
def must_have_factor(user: User) -> bool:
    return must_have_one(user)


@register.filter
def browser_words(user_agent: str) -> str:
    """ "Firefox on Linux"; what is neither is told as it told itself."""
    browser = next((name for sign, name in BROWSERS if sign in user_agent), "")
    system = next((name for sign, name in SYSTEMS if sign in user_agent), "")
    if browser and system:
        return _("%(browser)s on %(system)s") % {"browser": browser, "system": system}
    return browser or user_agent[:40] or _("unknown")
