"""The countries and regions of ISO 3166, by code, named in the reader's language.

countries.csv has the names of the Unicode CLDR in each of the site's languages.
"""

from __future__ import annotations

import csv
from pathlib import Path

from django.utils import translation

_FILE = Path(__file__).with_suffix(".csv")
with _FILE.open(newline="", encoding="utf-8") as _rows:
    NAMES = {row["code"]: row for row in csv.DictReader(_rows)}


def name_of(code: str) -> str:
    """ "CN" → "China"; what is no code stays as it is."""
    names = NAMES.get(code)
    return names[_column()] if names else code


def choices() -> list[tuple[str, str]]:
    """For a select, in the alphabet of the language."""
    column = _column()
    return sorted(((code, names[column]) for code, names in NAMES.items()), key=lambda choice: choice[1])


def _column() -> str:
    return "zh_hans" if (translation.get_language() or "").startswith("zh") else "en"
