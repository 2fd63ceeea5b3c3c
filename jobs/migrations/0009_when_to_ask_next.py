from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("jobs", "0008_reasons_in_full"),
    ]

    operations = [
        migrations.AddField(
            model_name="clusterhealth",
            name="ask_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
    ]
