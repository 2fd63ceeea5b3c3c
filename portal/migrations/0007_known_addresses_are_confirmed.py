"""Whom the centre registered before there was sign-up is known by that address: nobody has to confirm it again."""

from typing import Any

from django.db import migrations


def confirm(apps: Any, schema_editor: Any) -> None:
    people = apps.get_model("portal", "User").objects.using(schema_editor.connection.alias)
    addresses = apps.get_model("account", "EmailAddress").objects.using(schema_editor.connection.alias)
    known = set(addresses.values_list("user_id", flat=True))
    addresses.bulk_create(
        [
            addresses.model(user_id=pk, email=email, verified=True, primary=True)
            for pk, email in people.values_list("pk", "email")
            if pk not in known
        ],
        batch_size=1000,
    )


class Migration(migrations.Migration):
    dependencies = [
        ("portal", "0006_tries_are_counted_in_the_cache"),
        ("account", "0009_emailaddress_unique_primary_email"),
    ]
    operations = [migrations.RunPython(confirm, migrations.RunPython.noop)]
