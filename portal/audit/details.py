"""What was noted beside a deed, in the reader's words: hours instead of GPU-seconds, days and times as the reader writes them.

A detail's name is the code's; what stands in WORDS can be translated. One that stands nowhere is shown by its name.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist
from django.utils import formats
from django.utils.dateparse import parse_date, parse_datetime
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy

from portal.models import Role
from portal.words import exact, figure, grouped

WORDS: Mapping[str, str | Promise] = {
    "account": gettext_lazy("account in Slurm"),
    "begins_at": pgettext_lazy("audit", "from"),
    "cause": gettext_lazy("cause"),
    "changed": gettext_lazy("changed"),
    "closes_at": gettext_lazy("closes"),
    "cluster": gettext_lazy("cluster"),
    "country": gettext_lazy("country or region"),
    "deadlines": gettext_lazy("deadline"),
    "doi": "DOI",
    "due": pgettext_lazy("audit", "until"),
    "email": gettext_lazy("e-mail"),
    "end": gettext_lazy("last day"),
    "factor": gettext_lazy("charge factor"),
    "gpu_seconds": gettext_lazy("GPU-hours"),
    "gpus": gettext_lazy("GPUs"),
    "held": gettext_lazy("GPU-hours held"),
    "institution": gettext_lazy("institution"),
    "kind": gettext_lazy("kind"),
    "lab": gettext_lazy("lab"),
    "mail_domain": gettext_lazy("mail domain"),
    "message": gettext_lazy("message"),
    "month": gettext_lazy("month"),
    "name": gettext_lazy("name"),
    "node": gettext_lazy("login node"),
    "number": gettext_lazy("number in Slurm"),
    "partition": gettext_lazy("partition"),
    "person": gettext_lazy("person"),
    "place": pgettext_lazy("audit", "in"),
    "reason": gettext_lazy("reason"),
    "request": gettext_lazy("request"),
    "role": gettext_lazy("role"),
    "second": gettext_lazy("by a second person"),
    "sentence": gettext_lazy("sentence"),
    "sha256": "SHA-256",
    "short": gettext_lazy("GPU-hours lacking"),
    "slug": gettext_lazy("short name"),
    "source": gettext_lazy("source"),
    "subject": gettext_lazy("which"),
    "tasks": gettext_lazy("number of tasks"),
    "time_limit_minutes": gettext_lazy("minutes at most"),
    "until": pgettext_lazy("audit", "until"),
    "username": gettext_lazy("POSIX user"),
    "valid_from": pgettext_lazy("audit", "from"),
    "version": gettext_lazy("version"),
    "what": gettext_lazy("what"),
}
IN_GPU_SECONDS = frozenset({"gpu_seconds", "held", "short"})
MOMENTS = frozenset({"begins_at", "closes_at", "deadlines", "due", "end", "until", "valid_from"})


def in_words(detail: Mapping[str, Any], kind: str) -> Iterator[tuple[str, str]]:
    """(name, value) of what is worth telling. `kind`: of the thing that the deed was done to."""
    for name, value in detail.items():
        if value not in ("", None):
            yield str(WORDS.get(name, name.replace("_", " "))), _told(name, value, kind)


def _told(name: str, value: Any, kind: str) -> str:
    if name in MOMENTS:
        values = value if isinstance(value, list) else [value]
        return " → ".join(_moment(one) for one in values)
    if name in IN_GPU_SECONDS and type(value) is int:
        return figure(Decimal(value) / 3600)
    if name == "role" and value in Role.values:
        return str(Role(value).label)
    if name == "changed" and isinstance(value, dict):
        return ", ".join(f"{_field(kind, field)}: {_change(change)}" for field, change in value.items())
    return _plain(value)


def _moment(value: Any) -> str:
    text = str(value)
    moment: datetime | date | None = None
    with suppress(ValueError):  # it looks like one, and is none
        moment = parse_date(text) or parse_datetime(text)
    if isinstance(moment, datetime):
        return exact(moment) if moment.tzinfo else text
    return formats.date_format(moment, "DATE_FORMAT") if moment else text


def _field(kind: str, name: str) -> str:
    try:
        return str(getattr(apps.get_model(kind)._meta.get_field(name), "verbose_name", name))
    except (LookupError, ValueError, FieldDoesNotExist):
        return name


def _change(change: Any) -> str:
    return " → ".join(_plain(one) for one in change) if isinstance(change, list) else _plain(change)


def _plain(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if type(value) is int:
        return grouped(value)
    return value if isinstance(value, str) else json.dumps(value)
