"""docs/install.md names the settings that portal/settings.py reads: all of them, and no other."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
READ = re.compile(r"""(?:\benv\.\w+|\bneeded|dj_\w+_url)\(\s*"([A-Z_]+)\"""")


def test_the_table_of_settings_is_whole() -> None:
    read = set(READ.findall((ROOT / "portal" / "settings.py").read_text()))
    guide = (ROOT / "docs" / "install.md").read_text().split("\n## Settings\n")[1]
    told = set(re.findall(r"^\| `([A-Z_]+)` \|", guide, re.MULTILINE))
    assert "SECRET_KEY" in read and told == read
