"""What the settings need before pytest-django reads them (a plugin, `-p`: a conftest would come too late).

A variable that is already set wins: DATABASE_URL names PostgreSQL where the tests shall run on it. Of pytest-xdist's
processes each takes those that end with its name: REDIS_URL_GW0 is the first one's Redis.
"""

import os
from pathlib import Path

STATE = Path(__file__).resolve().parent.parent / ".state"

if process := os.environ.get("PYTEST_XDIST_WORKER"):
    own = f"_{process.upper()}"
    os.environ.update(
        {name.removesuffix(own): os.environ[name] for name in list(os.environ) if name.endswith(own)}
    )

os.environ.setdefault("SECRET_KEY", "only-for-tests-and-long-enough-for-django-to-be-content-with-it")
os.environ.setdefault("DATABASE_URL", f"sqlite:///{STATE}/test/db.sqlite3")
os.environ.setdefault("REDIS_URL", "redis://127.0.0.1:1/0")  # nobody listens there
os.environ.setdefault("EMAIL_URL", "dummy:")
os.environ.setdefault("MFA_REQUIRED_ROLES", "")  # tests of it switch it on
os.environ.setdefault(
    "OIDC_PROVIDERS",  # nobody answers there; tests/portal/test_connected_log_ins.py has one that does
    '[{"id": "elsewhere", "name": "Elsewhere", "server_url": "http://127.0.0.1:1", "client_id": "portal", "secret": "x"}]',
)
os.environ.setdefault("CLUSTERS_FILE", str(STATE / "test" / "clusters.toml"))
os.environ.setdefault("UPLOAD_ROOT", str(STATE / "test" / "uploads"))
os.environ.setdefault("ATTACHMENT_ROOT", str(STATE / "test" / "attachments"))
os.environ.setdefault("STATIC_ROOT", str(STATE / "test" / "static"))
Path(os.environ["STATIC_ROOT"]).mkdir(parents=True, exist_ok=True)  # or whitenoise warns in every test
