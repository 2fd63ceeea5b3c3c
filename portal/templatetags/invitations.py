"""How an invitation is written on a page. In Python, because lists have it in each row."""

from __future__ import annotations

from django import template
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from portal.models import Invitation
from portal.templatetags.page import state
from portal.words import day

register = template.Library()


@register.filter
def invitation_state(invitation: Invitation) -> SafeString:
    """Until when it is open, or that it is not any more."""
    if not invitation.is_open:
        return state(_("expired"), "off")
    return state(_("until %(day)s") % {"day": day(timezone.localdate(invitation.expires_at))}, "wait")
