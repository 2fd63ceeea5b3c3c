"""PostgreSQL leaves room in each page of jobs: their rows change every few seconds, and a changed row that finds room
beside the old one touches none of the many indexes."""

from typing import Any

from django.db import migrations


def leave_room(apps: Any, editor: Any) -> None:
    _set(editor, "SET (fillfactor = 60)")


def leave_none(apps: Any, editor: Any) -> None:
    _set(editor, "RESET (fillfactor)")


def _set(editor: Any, storage: str) -> None:
    if editor.connection.vendor == "postgresql":
        editor.execute(f"ALTER TABLE jobs_job {storage}")


class Migration(migrations.Migration):
    dependencies = [("jobs", "0011_sweeps")]

    operations = [migrations.RunPython(leave_room, leave_none)]
