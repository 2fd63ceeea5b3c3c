"""Whether usage changed is known without reading it: sums of it are kept until it does."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounting", "0014_runs_of_a_job_found_fast"),
    ]

    operations = [
        migrations.AddField(
            model_name="cluster",
            name="usage_version",
            field=models.PositiveBigIntegerField(default=0, editable=False),
        ),
    ]
