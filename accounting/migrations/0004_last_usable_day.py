"""Allocations without a grace can be used to their last day."""

from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def no_grace(apps: Apps, editor: BaseDatabaseSchemaEditor) -> None:
    allocations = apps.get_model("accounting", "Allocation").objects
    allocations.filter(usable_until__isnull=True).update(usable_until=models.F("end"))


class Migration(migrations.Migration):
    dependencies = [("accounting", "0003_the_way_to_hours")]
    operations = [
        migrations.RunPython(no_grace, migrations.RunPython.noop),
        migrations.AlterField("allocation", "usable_until", models.DateField()),
    ]
