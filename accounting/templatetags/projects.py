"""How a project is written on a page. In Python, because lists have it in each row."""

from __future__ import annotations

from django import template
from django.utils.safestring import SafeString

from portal.models import Project
from portal.templatetags.page import state

register = template.Library()

State = Project.State
TONES = {State.ACTIVE: "ok", State.PROPOSED: "wait", State.DECLINED: "bad"}


@register.filter
def project_state(project: Project) -> SafeString:
    """Its state as word, colour and icon."""
    now = State(project.state)
    return state(now.label, TONES.get(now, "off"))
