"""What the audit is narrowed to; lives in the address."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Any

from django import forms
from django.apps import apps
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db.models import Q
from django.utils import timezone
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from portal.audit.kinds import kind_word
from portal.audit.sentences import ACTIONS, in_words, steps
from portal.models import AuditEvent, Project, User
from portal.models.among import among
from portal.models.audit import AuditEventQuerySet

KINDS = (
    "accounting.allocation",
    "accounting.allocationrequest",
    "accounting.technicalreview",
    "jobs.clusteraccount",
    "jobs.job",
    "portal.institution",
    "portal.institutionapplication",
    "portal.invitation",
    "portal.joinrequest",
    "portal.lab",
    "portal.membership",
    "portal.project",
    "portal.user",
)
MOST_ID = 40


def actions() -> list[tuple[str, str]]:
    """All that we know of, in the reader's order."""
    known = [(action, in_words(action)) for action in {*ACTIONS, *steps()}]
    return [("", str(_("anything"))), *sorted(known, key=lambda one: one[1])]


def kinds() -> list[tuple[str, str]]:
    known = [(kind, capfirst(kind_word(kind))) for kind in KINDS if kind.split(".")[0] in apps.app_configs]
    return [("", str(_("any kind"))), *sorted(known, key=lambda one: one[1])]


def _day(label: Any) -> forms.DateField:
    return forms.DateField(
        label=label,
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
        # Beyond them, a day has no beginning in every zone.
        validators=[MinValueValidator(date(2000, 1, 1)), MaxValueValidator(date(2199, 12, 31))],
    )


class AuditFilter(forms.Form):
    who = forms.CharField(label=_("Who"), required=False, max_length=200)
    what = forms.ChoiceField(label=_("What was done"), required=False, choices=actions)
    kind = forms.ChoiceField(label=_("To what"), required=False, choices=kinds)
    number = forms.RegexField(
        r"\A[0-9a-f-]{1,40}\Z",
        label=_("Its number"),
        required=False,
        max_length=MOST_ID,
        error_messages={"invalid": _("A number stands in the address of a thing's page.")},
    )
    project = forms.CharField(label=_("Project"), required=False, max_length=200)
    first = _day(_("From"))
    last = _day(_("Until"))

    def narrow(self, events: AuditEventQuerySet) -> AuditEventQuerySet:
        """The rows that fit what was asked. What could not be understood is left out, and its error shown."""
        self.is_valid()
        wanted: dict[str, Any] = {name: value for name, value in self.cleaned_data.items() if value}
        plain = {"what": "action", "kind": "object_type", "number": "object_id"}
        events = events.filter(**{plain[name]: value for name, value in wanted.items() if name in plain})
        if who := wanted.get("who"):
            fits = User.objects.filter(Q(name__icontains=who) | Q(email__icontains=who))
            events = events.filter(actor__in=list(fits.values_list("pk", flat=True)[:1000]))
        if project := wanted.get("project"):
            named = Project.objects.filter(Q(title__icontains=project) | Q(slug=project))
            events = events.filter(among("project", named.ids()))
        if first := wanted.get("first"):
            events = events.filter(at__gte=_start_of(first))
        if last := wanted.get("last"):
            events = events.filter(at__lt=_start_of(last) + timedelta(days=1))
        return events


def _start_of(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time.min))


def before(events: AuditEventQuerySet, row: AuditEvent) -> AuditEventQuerySet:
    """The rows that come after `row` on the page: older ones."""
    return events.filter(at__lte=row.at).exclude(at=row.at, pk__gte=row.pk)


def row_of(number: str, events: AuditEventQuerySet) -> AuditEvent | None:
    """The row whose number stands in the address, if it is one that may be seen."""
    is_number = number.isascii() and number.isdecimal() and len(number) < 19
    return events.filter(pk=int(number)).first() if is_number else None
