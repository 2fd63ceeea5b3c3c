"""What entries sum up to is kept beside them by the database, and checked each night."""

import django.db.models.deletion
from django.db import migrations, models

from accounting.summing import summed


class Migration(migrations.Migration):
    dependencies = [("accounting", "0019_fences")]

    operations = [
        migrations.CreateModel(
            name="LedgerSum",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("grant", "grant"),
                            ("charge", "charge"),
                            ("adjustment", "adjustment"),
                            ("refund", "refund"),
                            ("transfer", "transfer"),
                            ("expiry", "expiry"),
                        ],
                        max_length=10,
                    ),
                ),
                ("of_runs", models.BooleanField()),
                ("gpu_seconds", models.BigIntegerField()),
                ("entries", models.BigIntegerField()),
                (
                    "allocation",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="sums",
                        to="accounting.allocation",
                    ),
                ),
            ],
            options={"ordering": ["allocation", "kind", "of_runs"]},
        ),
        migrations.AddConstraint(
            "ledgersum",
            models.UniqueConstraint(fields=("allocation", "kind", "of_runs"), name="one_sum_of_each_kind"),
        ),
        migrations.AlterField(
            "balancedifference",
            "kind",
            models.CharField(
                choices=[
                    ("charge", "charge of a run"),
                    ("refund", "refund of a run"),
                    ("used", "hours used of an allocation"),
                    ("sum", "kept sum of an allocation"),
                    ("grant", "grant of a decision"),
                    ("transfer", "transfer"),
                    ("hold", "hold of a job"),
                    ("day", "usage of a day"),
                ],
                max_length=10,
                verbose_name="kind",
            ),
        ),
        summed(),
    ]
