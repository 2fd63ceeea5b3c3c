from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("jobs", "0007_signs_of_life"),
    ]

    operations = [
        migrations.AlterField(
            model_name="job",
            name="reason",
            field=models.CharField(blank=True, max_length=200),
        ),
    ]
