"""Change a row's state by asking the database: one guarded UPDATE by the model's table of moves, and its audit row."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from portal.models.audit import record
from portal.models.moves import Moving
from portal.models.people import User
from portal.models.projects import Project


class IllegalMove(Exception):
    """The table of moves has no such step: a mistake in our code, not in anyone's input."""


def advance(
    thing: Moving, to: str, *, by: User | None, project: Project | None = None, note: str = "", **fields: Any
) -> bool:
    """Move `thing` from the state it was read in to `to`, setting `fields` along.

    True if this call moved it; False if somebody was first (the row no longer has the state we believed) —
    then nothing was written and the caller stops quietly or tells the person.
    """
    model = type(thing)
    before: str = thing.state
    if to not in model.MOVES[before]:
        raise IllegalMove(f"{model.__name__} {thing.pk}: {before} → {to}")
    with transaction.atomic():
        moved = model._default_manager.filter(pk=thing.pk, state=before).update(state=to, **fields)
        if not moved:
            return False
        record(f"{model._meta.verbose_name} {to}", thing, by=by, project=project, before=before, note=note)
    for name, value in {"state": to, **fields}.items():
        setattr(thing, name, value)
    return True
