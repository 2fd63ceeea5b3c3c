"""An audit row as a sentence that a person can read: in their language, with the thing's name and a way to it.

Actions are written as plain English: "allocation request approved", "job submitted". A change of state is told by its
model's own words; the others stand in ACTIONS, so that they can be translated. An action that stands nowhere is shown as
it was written.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache

from django.apps import apps
from django.urls import NoReverseMatch, reverse
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from portal.audit import details
from portal.audit.kinds import kind_word
from portal.models import AuditEvent, User
from portal.models.moves import Moving

ACTIONS = (
    gettext_noop("access switched off"),
    gettext_noop("access switched on"),
    gettext_noop("account changed"),
    gettext_noop("account made"),
    gettext_noop("allocation extended"),
    gettext_noop("allocation request changed"),
    gettext_noop("allocation request consented"),
    gettext_noop("allocation request drafted"),
    gettext_noop("allocation request not consented"),
    gettext_noop("allocation resumed"),
    gettext_noop("allocation settled"),
    gettext_noop("allocation suspended"),
    gettext_noop("application sent"),
    gettext_noop("attachment added"),
    gettext_noop("attachment removed"),
    gettext_noop("balance corrected"),
    gettext_noop("call changed"),
    gettext_noop("call closed"),
    gettext_noop("call made"),
    gettext_noop("cap set"),
    gettext_noop("checkpoint held"),
    gettext_noop("cluster account approved"),
    gettext_noop("cluster account renamed"),
    gettext_noop("cluster account requested"),
    gettext_noop("cluster registered"),
    gettext_noop("cluster registered anew"),
    gettext_noop("correction proposed"),
    gettext_noop("difference explained"),
    gettext_noop("funder registered"),
    gettext_noop("funder registered anew"),
    gettext_noop("hold re-priced"),
    gettext_noop("hours granted"),
    gettext_noop("hours moved"),
    gettext_noop("host key looked at"),
    gettext_noop("institution changed"),
    gettext_noop("institution registered"),
    gettext_noop("institution registered anew"),
    gettext_noop("invitation accepted"),
    gettext_noop("invitation revoked"),
    gettext_noop("invitation sent"),
    gettext_noop("invitation sent again"),
    gettext_noop("job cancel requested"),
    gettext_noop("job found on the cluster"),
    gettext_noop("job given up"),
    gettext_noop("job sent again"),
    gettext_noop("job submitted"),
    gettext_noop("join request sent"),
    gettext_noop("lab closed"),
    gettext_noop("lab created"),
    gettext_noop("lab registered"),
    gettext_noop("lab registered anew"),
    gettext_noop("maintenance ended"),
    gettext_noop("maintenance set"),
    gettext_noop("measurability to be checked"),
    gettext_noop("membership begun"),
    gettext_noop("month closed"),
    gettext_noop("partition registered"),
    gettext_noop("partition registered anew"),
    gettext_noop("policy set"),
    gettext_noop("price set"),
    gettext_noop("progress report written"),
    gettext_noop("project proposed"),
    gettext_noop("project registered"),
    gettext_noop("project registered anew"),
    gettext_noop("publication added"),
    gettext_noop("publication removed"),
    gettext_noop("quarantined record looked at"),
    gettext_noop("right to run ended"),
    gettext_noop("second factor reset"),
    gettext_noop("staff made on the command line"),
    gettext_noop("technical review asked"),
    gettext_noop("terms accepted"),
    gettext_noop("terms published"),
    gettext_noop("tranche granted"),
    gettext_noop("unconfirmed application deleted"),
)
# Whose page a thing of a kind has: the URL's name, and what of the row stands in it.
PAGES: Mapping[str, tuple[str, str]] = {
    "accounting.allocation": ("accounting:allocation", "pk"),
    "accounting.allocationrequest": ("accounting:request", "pk"),
    "jobs.job": ("jobs:detail", "pk"),
    "portal.institution": ("portal:institution", "slug"),
    "portal.lab": ("portal:lab", "pk"),
    "portal.project": ("accounting:project", "slug"),
    "portal.user": ("portal:person", "pk"),
}
# What a thing is called. A kind that is not here is told by its number.
NAMES: Mapping[str, str] = {
    "accounting.allocationrequest": "project__title",
    "accounting.discrepancy": "account",
    "accounting.maintenance": "cluster__title",
    "jobs.job": "name",
    "portal.institution": "name",
    "portal.invitation": "email",
    "portal.lab": "name",
    "portal.membership": "user__name",
    "portal.project": "title",
    "portal.user": "name",
}
HIDING = frozenset(
    {"accounting.allocationrequest"}
)  # a draft is its lab's alone, its row in the audit is not
SLUGS = {"portal.institution": "slug", "portal.project": "slug"}


@dataclass(frozen=True)
class Line:
    """One row of the audit, ready to be read."""

    id: int
    at: datetime
    actor: str  # empty: the portal itself
    action: str
    thing: str
    url: str  # of the thing's page; empty where it has none
    project: str
    project_slug: str
    change: str  # "submitted → approved"; empty where no state changed
    note: str
    detail: tuple[tuple[str, str], ...]


def told(events: Iterable[AuditEvent], *, reader: User) -> list[Line]:
    """Some rows as lines: one query more for each kind of thing among them that has a name."""
    events = list(events)
    things = _things(events, reader)
    return [_line(event, things.get((event.object_type, event.object_id))) for event in events]


def in_words(action: str) -> str:
    """The action in the reader's language."""
    if action in ACTIONS:
        return capfirst(_(action))
    step = steps().get(action)
    return f"{capfirst(step.noun)}: {step.word}" if step else capfirst(action)


@dataclass(frozen=True)
class Step:
    """An action that `portal.transitions` writes: a thing of this model came to this state."""

    model: type[Moving]
    state: str

    @property
    def noun(self) -> str:
        return str(self.model._meta.verbose_name)

    @property
    def word(self) -> str:
        return state_word(self.model, self.state)


@cache
def steps() -> Mapping[str, Step]:
    """Every action that a table of moves can write."""
    return {
        f"{model._meta.verbose_name_raw} {state}": Step(model, state)
        for model in apps.get_models()
        if issubclass(model, Moving)
        for state in model.MOVES
    }


def state_word(model: type[Moving], state: str) -> str:
    return model.state_words().get(state, state)


@dataclass(frozen=True)
class Thing:
    name: str
    slug: str
    opens: bool = True  # for the reader


def _things(events: Iterable[AuditEvent], reader: User) -> dict[tuple[str, str], Thing]:
    wanted: dict[str, set[str]] = defaultdict(set)
    for event in events:
        if event.object_type in NAMES and event.object_id.isascii() and event.object_id.isdecimal():
            wanted[event.object_type].add(event.object_id)
    found = {}
    for kind, ids in wanted.items():
        slug = SLUGS.get(kind, NAMES[kind])
        opening = _opening(kind, ids, reader)
        for pk, name, slugged in (
            apps.get_model(kind)._default_manager.filter(pk__in=ids).values_list("pk", NAMES[kind], slug)
        ):
            found[kind, str(pk)] = Thing(str(name), str(slugged), opens=str(pk) in opening)
    return found


def _opening(kind: str, ids: set[str], reader: User) -> set[str]:
    """Of these things, those whose page opens for the reader."""
    if kind not in HIDING:
        return ids
    visible = apps.get_model(kind)._default_manager.visible_to(reader)
    return {str(pk) for pk in visible.filter(pk__in=ids).values_list("pk", flat=True)}


def _line(event: AuditEvent, thing: Thing | None) -> Line:
    detail = dict(event.detail) if isinstance(event.detail, dict) else {}
    before, note = str(detail.pop("before", "")), str(detail.pop("note", ""))
    noun = kind_word(event.object_type)
    return Line(
        id=event.pk,
        at=event.at,
        actor=str(event.actor or ""),
        action=in_words(event.action),
        thing=f"{noun} {thing.name if thing else event.object_id}",
        url=_page_of(event, thing),
        project=str(event.project or ""),
        project_slug=event.project.slug if event.project else "",
        change=_change(event.action, before),
        note=note,
        detail=tuple(details.in_words(detail, event.object_type)),
    )


def _page_of(event: AuditEvent, thing: Thing | None) -> str:
    if thing and not thing.opens:
        return ""
    name, by = PAGES.get(event.object_type, ("", ""))
    slug = event.project.slug if event.project and event.object_type == "portal.project" else ""
    argument = event.object_id if by == "pk" else slug or (thing.slug if thing else "")
    try:
        return reverse(name, args=[argument]) if name and argument else ""
    except NoReverseMatch:
        return ""


def _change(action: str, before: str) -> str:
    step = steps().get(action)
    return f"{state_word(step.model, before)} → {step.word}" if step and before else ""
