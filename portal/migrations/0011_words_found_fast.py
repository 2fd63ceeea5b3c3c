"""People are looked up by a part of their name or address."""

from django.db import migrations

from portal.word_indexes import word_indexes


class Migration(migrations.Migration):
    dependencies = [
        ("portal", "0010_rows_found_fast"),
    ]

    operations = word_indexes(
        people_by_words=("portal_user", "name"), people_by_address=("portal_user", "email")
    )
