"""How a request is written on a page. In Python, because lists have it in each row."""

from __future__ import annotations

from django import template
from django.utils import formats
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from accounting.models import AllocationRequest
from portal.templatetags.page import state

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
    tone, symbol = LOOKS[State(asked.state)]
    return state(asked.get_state_display(), tone, "", symbol)


@register.filter
def period(asked: AllocationRequest) -> str:
    """From when to when hours are asked for."""
    if not asked.start:
        return _("not said yet")
    start = formats.date_format(asked.start, "DATE_FORMAT")
    if not asked.end:
        return _("from %(day)s") % {"day": start}
    return f"{start} – {formats.date_format(asked.end, 'DATE_FORMAT')}"
