"""The few records that belong to nobody, or are odd, are counted without reading the many."""

from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [
        ("accounting", "0012_weights"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="usagerecord",
            index=models.Index(
                fields=["cluster"], condition=Q(project=None) | ~Q(anomaly=""), name="odd_usage"
            ),
        ),
    ]
