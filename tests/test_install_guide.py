"""docs/install.md names the settings that portal/settings.py reads, all of them and no other; its mail server works."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
READ = re.compile(r"""(?:\benv\.\w+|\bneeded|dj_\w+_url)\(\s*"([A-Z_]+)\"""")


def test_the_table_of_settings_is_whole() -> None:
    read = set(READ.findall((ROOT / "portal" / "settings.py").read_text()))
    guide = (ROOT / "docs" / "install.md").read_text().split("\n## Settings\n")[1]
    told = set(re.findall(r"^\| `([A-Z_]+)` \|", guide, re.MULTILINE))
    assert "SECRET_KEY" in read and told == read


def started_with(email_url: str) -> subprocess.CompletedProcess[str]:
    """The settings, read by a program of its own: the backend that mail would take."""
    shows = "from portal import settings; print(settings.EMAIL_BACKEND, settings.EMAIL_HOST, settings.EMAIL_USE_TLS)"
    env = {**os.environ, "EMAIL_URL": email_url}
    return subprocess.run(
        [sys.executable, "-c", shows], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )


def test_the_mail_server_of_the_example_is_one() -> None:
    [example] = re.findall(r"^EMAIL_URL=(\S+)$", (ROOT / "docs" / "install.md").read_text(), re.MULTILINE)
    told = started_with(example).stdout
    assert told == "django.core.mail.backends.smtp.EmailBackend mail.centre.example True\n"


def test_a_mail_server_that_nobody_knows_stops_the_start() -> None:
    refused = started_with("smtp+tls://portal:open-sesame@mail.centre.example:587")
    assert refused.returncode != 0
    assert "Write submission://USER:PASSWORD@HOST" in refused.stderr
    assert "open-sesame" not in refused.stderr
