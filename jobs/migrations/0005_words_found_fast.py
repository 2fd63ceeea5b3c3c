"""Jobs are looked up by a part of their name, or by the scheduler's number."""

from django.db import migrations, models

from portal.word_indexes import word_indexes


class Migration(migrations.Migration):
    dependencies = [
        ("portal", "0011_words_found_fast"),
        ("jobs", "0004_unfinished_and_ended_found_fast"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="job",
            index=models.Index(fields=["scheduler_id"], name="jobs_by_number"),
        ),
        *word_indexes(jobs_by_words=("jobs_job", "name")),
    ]
