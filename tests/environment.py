"""What the settings need before pytest-django reads them (a plugin, `-p`: a conftest would come too late).

A variable that is already set wins: DATABASE_URL names PostgreSQL where the tests shall run on it.
"""

import os
from pathlib import Path

STATE = Path(__file__).resolve().parent.parent / ".state"

os.environ.setdefault("SECRET_KEY", "only-for-tests-and-long-enough-for-django-to-be-content-with-it")
os.environ.setdefault("DATABASE_URL", f"sqlite:///{STATE}/test/db.sqlite3")
os.environ.setdefault("REDIS_URL", "redis://127.0.0.1:1/0")  # nobody listens there
os.environ.setdefault("EMAIL_URL", "dummymail:")
os.environ.setdefault("CLUSTERS_FILE", str(STATE / "test" / "clusters.toml"))
os.environ.setdefault("UPLOAD_ROOT", str(STATE / "test" / "uploads"))
os.environ.setdefault("STATIC_ROOT", str(STATE / "test" / "static"))
Path(os.environ["STATIC_ROOT"]).mkdir(parents=True, exist_ok=True)  # or whitenoise warns in every test
