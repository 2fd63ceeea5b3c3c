"""Change a row's state by asking the database: one guarded UPDATE by the model's table of moves."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import Q
from django.utils.translation import gettext as _

from portal.models.audit import record
from portal.models.moves import Moving
from portal.models.people import User
from portal.models.projects import Project


class IllegalMove(Exception):
    """The table of moves has no such step: a mistake in our code, not in anyone's input."""


class Overtaken(Exception):
    """Somebody else was first: the thing is no longer in the state that the person saw. The message is for them."""


def move(thing: Moving, to: str, **fields: Any) -> bool:
    """Move `thing` from the state it was read in to `to`, setting `fields` along.

    True if this call moved it; False if somebody was first (the row no longer has the state we believed) —
    then nothing was written and the caller stops quietly or tells the person.
    """
    model = type(thing)
    before: str = thing.state
    if to not in model.MOVES[before]:
        raise IllegalMove(f"{model.__name__} {thing.pk}: {before} → {to}")
    changes: dict[str, Any] = {"state": to, **fields}
    if not model._default_manager.filter(pk=thing.pk).filter(Q(("state", before))).update(**changes):
        return False
    for name, value in changes.items():
        setattr(thing, name, value)
    return True


@transaction.atomic
def advance(
    thing: Moving, to: str, *, by: User | None, project: Project | None = None, note: str = "", **fields: Any
) -> bool:
    """`move`, with its audit row in the same transaction: for what people do."""
    before: str = thing.state
    if not move(thing, to, **fields):
        return False
    record(
        f"{type(thing)._meta.verbose_name_raw} {to}", thing, by=by, project=project, before=before, note=note
    )
    return True


def step(
    thing: Moving, to: str, *, by: User | None, project: Project | None = None, note: str = "", **fields: Any
) -> None:
    """`advance`, or Overtaken: also where the state that the person saw leads nowhere any more."""
    if to in thing.MOVES[thing.state] and advance(thing, to, by=by, project=project, note=note, **fields):
        return
    raise overtaken(thing)


def overtaken(thing: Moving) -> Overtaken:
    """What to tell who saw `thing` in a state that it has left."""
    thing.refresh_from_db()
    now = thing.get_state_display()  # type: ignore[attr-defined]  # each model's `state` has choices
    return Overtaken(_("Somebody was faster: this is already %(state)s.") % {"state": now})
