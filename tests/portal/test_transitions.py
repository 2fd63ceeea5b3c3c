"""advance() moves a row once, by the table of moves, with its audit row."""

from __future__ import annotations

import pytest
from django.db import IntegrityError, transaction

from portal.models import AuditEvent, Project, User
from portal.transitions import IllegalMove, advance
from tests.factories import ProjectFactory

State = Project.State


def test_it_moves_and_leaves_a_trail(sam: User) -> None:
    project = ProjectFactory.create(state=State.PROPOSED)
    assert advance(project, State.ACTIVE, by=sam, project=project)
    assert Project.objects.get().state == project.state == State.ACTIVE
    event = AuditEvent.objects.about(project).get()
    assert (event.actor, event.action, event.detail["before"]) == (sam, "project active", "proposed")


def test_who_comes_second_changes_nothing(sam: User) -> None:
    mine, theirs = ProjectFactory.create(state=State.PROPOSED), Project.objects.get()
    assert advance(theirs, State.DECLINED, by=sam)
    assert not advance(mine, State.ACTIVE, by=sam)
    assert Project.objects.get().state == State.DECLINED
    assert AuditEvent.objects.count() == 1


def test_a_step_outside_the_table_is_a_mistake_of_ours(sam: User) -> None:
    with pytest.raises(IllegalMove):
        advance(ProjectFactory.create(state=State.DECLINED), State.ACTIVE, by=sam)


def test_audit_rows_are_ink(sam: User) -> None:
    advance(ProjectFactory.create(state=State.PROPOSED), State.ACTIVE, by=sam)
    for deed in (
        lambda: AuditEvent.objects.update(action="nothing"),
        lambda: AuditEvent.objects.all().delete(),
    ):
        with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
            deed()
