"""Wrong log-ins were rows of ours; they are counted in the cache's table now, which nothing else makes."""

from typing import Any

from django.core.management import call_command
from django.db import migrations


def make_cache_table(apps: Any, schema_editor: Any) -> None:
    call_command("createcachetable", database=schema_editor.connection.alias, verbosity=0)


class Migration(migrations.Migration):
    dependencies = [("portal", "0005_people_come_in")]
    operations = [
        migrations.DeleteModel("FailedLogIn"),
        migrations.RunPython(make_cache_table, migrations.RunPython.noop),
    ]
