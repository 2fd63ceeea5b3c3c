"""Refunds are proposed, large corrections need two, and what does not add up is kept: in tables of their own."""

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

from portal.append_only import append_only_still, not_emptied


class Migration(migrations.Migration):
    dependencies = [
        ("accounting", "0016_windows_and_closed_months"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="BalanceDifference",
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
                            ("charge", "charge of a run"),
                            ("refund", "refund of a run"),
                            ("used", "hours used of an allocation"),
                            ("grant", "grant of a decision"),
                            ("transfer", "transfer"),
                            ("hold", "hold of a job"),
                            ("day", "usage of a day"),
                        ],
                        max_length=10,
                        verbose_name="kind",
                    ),
                ),
                ("subject", models.CharField(max_length=200)),
                ("expected", models.BigIntegerField()),
                ("found", models.BigIntegerField()),
                ("first_seen_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("last_seen_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("cleared_at", models.DateTimeField(blank=True, null=True)),
                ("cause", models.CharField(blank=True, max_length=500, verbose_name="cause")),
            ],
            options={
                "ordering": [
                    models.OrderBy(models.F("cleared_at"), descending=True, nulls_first=True),
                    "-first_seen_at",
                    "-pk",
                ],
            },
        ),
        migrations.CreateModel(
            name="Correction",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("gpu_seconds", models.BigIntegerField()),
                ("reason", models.CharField(max_length=500, verbose_name="reason")),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("proposed", "proposed"),
                            ("approved", "approved"),
                            ("declined", "declined"),
                        ],
                        default="proposed",
                        max_length=10,
                        verbose_name="state",
                    ),
                ),
                ("proposed_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("decided_at", models.DateTimeField(blank=True, null=True)),
                ("comment", models.CharField(blank=True, max_length=500, verbose_name="comment")),
            ],
            options={
                "verbose_name": "correction",
                "ordering": ["-proposed_at", "-pk"],
            },
        ),
        migrations.CreateModel(
            name="RefundProposal",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("gpu_seconds", models.BigIntegerField()),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("proposed", "proposed"),
                            ("approved", "approved"),
                            ("declined", "declined"),
                            ("lapsed", "lapsed"),
                        ],
                        default="proposed",
                        max_length=10,
                        verbose_name="state",
                    ),
                ),
                ("proposed_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("decided_at", models.DateTimeField(blank=True, null=True)),
                ("reason", models.CharField(blank=True, max_length=500, verbose_name="reason")),
            ],
            options={
                "verbose_name": "refund",
                "ordering": ["proposed_at", "pk"],
            },
        ),
        migrations.AddField(
            model_name="policy",
            name="second_person_above",
            field=models.BigIntegerField(blank=True, null=True),
        ),
        migrations.AddConstraint(
            model_name="ledgerentry",
            constraint=models.UniqueConstraint(
                condition=models.Q(("kind", "refund")), fields=("usage_record",), name="one_refund_per_run"
            ),
        ),
        migrations.AddField(
            model_name="balancedifference",
            name="allocation",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="accounting.allocation",
            ),
        ),
        migrations.AddField(
            model_name="balancedifference",
            name="cluster",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="accounting.cluster",
            ),
        ),
        migrations.AddField(
            model_name="balancedifference",
            name="explained_by",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="correction",
            name="allocation",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="corrections",
                to="accounting.allocation",
            ),
        ),
        migrations.AddField(
            model_name="correction",
            name="decided_by",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="correction",
            name="entry",
            field=models.OneToOneField(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="accounting.ledgerentry",
            ),
        ),
        migrations.AddField(
            model_name="correction",
            name="proposed_by",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
            ),
        ),
        migrations.AddField(
            model_name="refundproposal",
            name="allocation",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="refund_proposals",
                to="accounting.allocation",
            ),
        ),
        migrations.AddField(
            model_name="refundproposal",
            name="decided_by",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="refundproposal",
            name="entry",
            field=models.OneToOneField(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="accounting.ledgerentry",
            ),
        ),
        migrations.AddField(
            model_name="refundproposal",
            name="usage_record",
            field=models.OneToOneField(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="refund_proposal",
                to="accounting.usagerecord",
            ),
        ),
        migrations.AddConstraint(
            model_name="balancedifference",
            constraint=models.UniqueConstraint(
                condition=models.Q(("cleared_at", None)),
                fields=("kind", "subject"),
                name="one_open_difference",
            ),
        ),
        migrations.AddIndex(
            model_name="correction",
            index=models.Index(fields=["state", "-proposed_at", "-id"], name="corrections_by_state"),
        ),
        migrations.AddConstraint(
            model_name="correction",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("gpu_seconds", 0), _negated=True), models.Q(("reason", ""), _negated=True)
                ),
                name="correction_says_what_and_why",
            ),
        ),
        migrations.AddConstraint(
            model_name="correction",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state", "approved"), _negated=True),
                    models.Q(
                        ("decided_by__isnull", False),
                        models.Q(("decided_by", models.F("proposed_by")), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="correction_approved_by_another",
            ),
        ),
        migrations.AddIndex(
            model_name="refundproposal",
            index=models.Index(
                condition=models.Q(("state", "proposed")),
                fields=["proposed_at", "id"],
                name="refunds_to_decide",
            ),
        ),
        migrations.AddIndex(
            model_name="refundproposal",
            index=models.Index(fields=["state", "-decided_at", "-id"], name="refunds_decided"),
        ),
        migrations.AddConstraint(
            model_name="refundproposal",
            constraint=models.CheckConstraint(
                condition=models.Q(("gpu_seconds__gt", 0)), name="refund_gives_something"
            ),
        ),
        append_only_still("accounting_ledgerentry"),
        not_emptied("accounting_ledgerentry"),
    ]
