from django.db import migrations

from portal.append_only import append_only


class Migration(migrations.Migration):
    dependencies = [("portal", "0001_first")]
    operations = [append_only("portal_auditevent")]
