"""PostgreSQL refuses to empty the audit at once, as it refuses to change or remove a row."""

from django.db import migrations

from portal.append_only import not_emptied


class Migration(migrations.Migration):
    dependencies = [("portal", "0011_words_found_fast")]

    operations = [not_emptied("portal_auditevent")]
