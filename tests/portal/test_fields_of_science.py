"""Projects say their field of science by the OECD's code; texts of before became codes where they could."""

from __future__ import annotations

from importlib import import_module

import pytest
from django.apps import apps
from django.core.exceptions import ValidationError

from portal.fields_of_science import AREAS, FIELDS
from portal.models import AuditEvent, Project

migration = import_module("portal.migrations.0008_fields_of_science_become_codes")
code_of = migration.code_of


def test_each_field_lies_in_an_area() -> None:
    assert len(FIELDS) == 42
    assert {code.partition(".")[0] for code in FIELDS} == set(AREAS)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Mathematics", "1.1"),
        ("computer and information sciences", "1.2"),
        ("1.2", "1.2"),
        ("2.10 Nanotechnology", "2.10"),
        ("Earth", "1.5"),
        ("Environmental", ""),  # several begin so
        ("Alchemy", ""),
        (" ", ""),
    ],
)
def test_a_text_becomes_the_code_that_it_can_only_mean(text: str, code: str) -> None:
    assert code_of(text) == code


@pytest.mark.parametrize(("text", "code"), [("Math", "1.1"), ("Alch", ""), ("1.2", "1.2")])
def test_what_the_text_was_is_not_lost(project: Project, text: str, code: str) -> None:
    Project.objects.update(field_of_science=text)
    migration.to_codes(apps, None)
    project.refresh_from_db()
    assert project.field_of_science == code
    told = AuditEvent.objects.filter(action="project field of science became a code")
    assert [event.detail for event in told] == ([{"before": text, "after": code}] if text != code else [])


def test_a_project_keeps_a_code_only(project: Project) -> None:
    project.field_of_science = "1.3"
    project.full_clean()
    assert project.get_field_of_science_display() == "Physical sciences"
    project.field_of_science = "Alchemy"
    with pytest.raises(ValidationError, match="no code of a field of science"):
        project.full_clean()
