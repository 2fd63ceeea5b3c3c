"""Every table of moves: it leads everywhere, its ends are ends, and `advance` takes its steps and no other."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from io import StringIO
from pathlib import Path

import pytest
from django.apps import apps
from django.core.management import call_command

from accounting.models import AllocationRequest, Correction, Discrepancy, RefundProposal, TechnicalReview
from jobs.models import ClusterAccount, Job
from portal.models import AuditEvent, InstitutionApplication, JoinRequest, Project, User
from portal.models.moves import Moving
from portal.transitions import IllegalMove, advance
from tests.belongings import refund_of
from tests.factories import (
    AllocationFactory,
    AllocationRequestFactory,
    ClusterAccountFactory,
    DiscrepancyFactory,
    JobFactory,
    LabFactory,
    ProjectFactory,
    UserFactory,
)

DOCS = Path(__file__).resolve().parent.parent / "docs" / "moves.md"
TABLES = [model for model in apps.get_models() if issubclass(model, Moving)]


def name_of(model: type[Moving]) -> str:
    return str(model._meta.model_name)


@pytest.mark.parametrize("model", TABLES, ids=name_of)
def test_the_table_has_every_state_and_no_other(model: type[Moving]) -> None:
    states = set(model.state_words())
    assert set(model.MOVES) == states
    assert {later for nexts in model.MOVES.values() for later in nexts} <= states


@pytest.mark.parametrize("model", TABLES, ids=name_of)
def test_every_state_can_be_reached(model: type[Moving]) -> None:
    reached: set[str] = set()
    ahead = [model.first_state()]
    while ahead:
        state = ahead.pop()
        if state not in reached:
            reached.add(state)
            ahead += model.MOVES[state]
    assert reached == set(model.MOVES)


@pytest.mark.parametrize("model", TABLES, ids=name_of)
def test_no_state_leads_to_itself(model: type[Moving]) -> None:
    assert all(state not in nexts for state, nexts in model.MOVES.items())


# ── Each step, on a real row ─────────────────────────────────────────────────

# A row that may be in any state: whatever a constraint asks of some state, it has.
ROWS: dict[type[Moving], Callable[[], Moving]] = {
    AllocationRequest: lambda: AllocationRequestFactory.create(),
    Correction: lambda: Correction.objects.create(
        allocation=AllocationFactory.create(),
        gpu_seconds=1,
        reason="Repairs.",
        proposed_by=UserFactory.create(),
        decided_by=UserFactory.create(),
    ),
    RefundProposal: lambda: refund_of(AllocationFactory.create()),
    ClusterAccount: lambda: ClusterAccountFactory.create(),
    Discrepancy: lambda: DiscrepancyFactory.create(),
    InstitutionApplication: lambda: InstitutionApplication.objects.create(name="Newtown", country="DE"),
    Job: lambda: JobFactory.create(scheduler_id="7"),
    JoinRequest: lambda: JoinRequest.objects.create(user=UserFactory.create(), lab=LabFactory.create()),
    Project: lambda: ProjectFactory.create(),
    TechnicalReview: lambda: TechnicalReview.objects.create(
        request=AllocationRequestFactory.create(),
        reviewer=UserFactory.create(),
        asked_by=UserFactory.create(),
        due=date(2026, 6, 30),
        score=4,
        comment="Sound.",
        has_no_conflict=True,
    ),
}


def put(thing: Moving, state: str) -> None:
    """Into a state, whatever its table says."""
    thing.state = state
    thing.save()


@pytest.mark.parametrize("model", TABLES, ids=name_of)
def test_advance_takes_each_step_of_the_table_and_no_other(model: type[Moving], sam: User) -> None:
    assert model in ROWS, f"tests/test_moves.py needs to know how to make a row of {model.__name__}."
    thing = ROWS[model]()
    for before in model.MOVES:
        for after in model.MOVES:
            put(thing, before)
            if after in model.MOVES[before]:
                assert advance(thing, after, by=sam), (before, after)
                event = AuditEvent.objects.about(thing).first()
                assert event and event.detail["before"] == before and event.action.endswith(after)
            else:
                with pytest.raises(IllegalMove):
                    advance(thing, after, by=sam)
            thing.refresh_from_db()
            assert thing.state == (after if after in model.MOVES[before] else before)


def test_the_docs_show_the_tables_as_they_are() -> None:
    made = StringIO()
    call_command("moves", stdout=made)
    assert DOCS.read_text() == made.getvalue(), "Write it anew: ./dev manage moves > docs/moves.md"
