"""The runs of a job are asked for by the id that people see, which no index knew."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounting", "0013_odd_records_found_fast"),
    ]

    operations = [
        migrations.RemoveIndex(model_name="usagerecord", name="usage_by_job"),
        migrations.AddIndex(
            model_name="usagerecord",
            index=models.Index(fields=["cluster", "job_id"], name="usage_of_job"),
        ),
    ]
