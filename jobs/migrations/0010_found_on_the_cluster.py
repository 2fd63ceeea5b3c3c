from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("jobs", "0009_when_to_ask_next"),
    ]

    operations = [
        migrations.AddField(
            model_name="job",
            name="found_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="clusterhealth",
            name="catching_up_until",
            field=models.DateTimeField(blank=True, null=True),
        ),
    ]
