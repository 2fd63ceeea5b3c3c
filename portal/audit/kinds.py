"""What deeds are done to, in the reader's words. Models that pages name elsewhere too have their word with themselves."""

from __future__ import annotations

from collections.abc import Mapping

from django.apps import apps
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

WORDS: Mapping[str, str | Promise] = {
    "accounting.allocation": _("allocation"),
    "accounting.balancedifference": _("difference"),
    "accounting.chargefactor": _("charge factor"),
    "accounting.cluster": _("cluster"),
    "accounting.partition": _("partition"),
    "accounting.publication": _("publication"),
    "accounting.usagecorrection": _("usage correction"),
    "jobs.loginnodesign": _("login node"),
    "portal.funder": _("funder"),
    "portal.institution": _("institution"),
    "portal.lab": _("lab"),
    "portal.membership": _("membership"),
    "portal.project": _("project"),
    "portal.user": _("person"),
}


def kind_word(object_type: str) -> str:
    """ "accounting.allocationrequest" → "allocation request"."""
    if object_type in WORDS:
        return str(WORDS[object_type])
    try:
        return str(apps.get_model(object_type)._meta.verbose_name)
    except (LookupError, ValueError):
        return object_type
