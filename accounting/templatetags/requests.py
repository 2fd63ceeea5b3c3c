"""How a request is written on a page. In Python, because lists have it in each row."""

from __future__ import annotations

from django import template
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from accounting.models import AllocationRequest
from portal.templatetags.page import state
from portal.words import day

register = template.Library()

State = AllocationRequest.State
LOOKS = {  # tone, and an icon where the tone's own would say too little
    State.DRAFT: ("off", ""),
    State.SUBMITTED: ("wait", ""),
    State.ENDORSED: ("wait", "users"),
    State.RETURNED: ("warn", "arrow-back-up"),
    State.APPROVED: ("ok", ""),
    State.REJECTED: ("bad", ""),
    State.WITHDRAWN: ("off", ""),
}


@register.filter
def request_state(asked: AllocationRequest) -> SafeString:
    """Its state as word, colour and icon."""
    now = State(asked.state)
    tone, symbol = LOOKS[now]
    return state(now.label, tone, "", symbol)


@register.filter
def period(asked: AllocationRequest) -> str:
    """From when to when hours are asked for."""
    if not asked.start:
        return _("not said yet")
    start = day(asked.start)
    if not asked.end:
        return _("from %(day)s") % {"day": start}
    return f"{start} – {day(asked.end)}"
