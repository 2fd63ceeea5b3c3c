"""An allocation knows the decision that made it, and hours move once for a decision."""

from django.db import migrations, models

from portal.append_only import append_only_still


class Migration(migrations.Migration):
    dependencies = [("accounting", "0007_what_was_sent")]
    operations = [
        migrations.AddField(
            "allocation",
            "review",
            models.OneToOneField(
                blank=True,
                null=True,
                on_delete=models.deletion.PROTECT,
                related_name="allocation",
                to="accounting.review",
            ),
        ),
        migrations.AddField("allocation", "warned_at", models.DateTimeField(blank=True, null=True)),
        migrations.AddConstraint(
            "ledgerentry",
            models.UniqueConstraint(
                condition=models.Q(("kind", "transfer")),
                fields=("review", "allocation"),
                name="one_transfer_per_review",
            ),
        ),
        migrations.AddConstraint(
            "ledgerentry",
            models.UniqueConstraint(
                condition=models.Q(("kind", "transfer")), fields=("cites",), name="one_arrival_per_departure"
            ),
        ),
        append_only_still("accounting_ledgerentry"),
    ]
