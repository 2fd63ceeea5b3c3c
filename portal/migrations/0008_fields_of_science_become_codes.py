"""Projects' fields of science were free text; now they are codes of the OECD's classification.

A text that is a label, or the beginning of exactly one, becomes its code. Any other becomes empty: a guess would be
worse. What the text was stays in the audit trail.
"""

from typing import Any

from django.db import migrations

from portal.fields_of_science import FIELDS


def code_of(text: str) -> str:
    wanted = text.strip().casefold()
    labels = {code: f"{label}".casefold() for code, label in FIELDS.items()}
    exact = [code for code, label in labels.items() if wanted in (code, label, f"{code} {label}")]
    begun = [code for code, label in labels.items() if wanted and label.startswith(wanted)]
    found = exact or begun
    return found[0] if len(found) == 1 else ""


def to_codes(apps: Any, _editor: Any) -> None:
    project_model = apps.get_model("portal", "Project")
    audit = apps.get_model("portal", "AuditEvent")
    for project in project_model.objects.exclude(field_of_science=""):
        before, after = project.field_of_science, code_of(project.field_of_science)
        if before == after:
            continue
        project_model.objects.filter(pk=project.pk).update(field_of_science=after)
        audit.objects.create(
            action="project field of science became a code",
            object_type="portal.project",
            object_id=str(project.pk),
            project=project,
            detail={"before": before, "after": after},
        )


class Migration(migrations.Migration):
    dependencies = [("portal", "0007_known_addresses_are_confirmed")]
    operations = [migrations.RunPython(to_codes, migrations.RunPython.noop)]
