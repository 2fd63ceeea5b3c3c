"""Each record knows the type of the devices that it names none for: its partition's."""

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def types_of_partitions(apps: Apps, editor: BaseDatabaseSchemaEditor) -> None:
    """What the days were counted under until now."""
    records = apps.get_model("accounting", "UsageRecord").objects
    for partition in apps.get_model("accounting", "Partition").objects.all():
        records.filter(cluster=partition.cluster_id, partition=partition.name).update(
            gpu_type=partition.gpu_type
        )


class Migration(migrations.Migration):
    dependencies = [("accounting", "0010_usage_in_bulk")]
    operations = [migrations.RunPython(types_of_partitions, migrations.RunPython.noop)]
