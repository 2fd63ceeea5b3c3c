from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounting", "0021_maintenance"),
        ("jobs", "0010_found_on_the_cluster"),
        ("portal", "0012_audit_not_emptied"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="logtail",
            name="one_tail_per_stream",
        ),
        migrations.AddField(
            model_name="job",
            name="task_states",
            field=models.CharField(blank=True, db_default="", default="", max_length=1000),
        ),
        migrations.AddField(
            model_name="job",
            name="tasks",
            field=models.PositiveIntegerField(db_default=1, default=1, verbose_name="tasks"),
        ),
        migrations.AddField(
            model_name="job",
            name="tasks_at_once",
            field=models.PositiveIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="logtail",
            name="task",
            field=models.PositiveIntegerField(db_default=0, default=0),
        ),
        migrations.AddConstraint(
            model_name="job",
            constraint=models.CheckConstraint(
                condition=models.Q(("tasks__gte", 1), ("tasks__lte", 1000)),
                name="job_has_tasks_within_limits",
            ),
        ),
        migrations.AddConstraint(
            model_name="job",
            constraint=models.CheckConstraint(
                condition=models.Q(("tasks_at_once", None), ("tasks_at_once__gte", 1), _connector="OR"),
                name="some_tasks_at_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="logtail",
            constraint=models.UniqueConstraint(
                fields=("job", "stream", "task"), name="one_tail_per_stream_and_task"
            ),
        ),
    ]
