"""Does every catalogue say all that the code says, and nothing else? Reads; writes only into a folder that it removes."""

import ast
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from dev import places, rights

SOURCES = ("*.py", "templates/*", "portal/locale/*")
MAKE = ("--no-location", "--no-wrap", "--no-obsolete", "--ignore", ".state")
FIELD = re.compile(r'^(msg\S+) ((?:".*"\n?)+)', re.MULTILINE)
PLACEHOLDER = re.compile(r"%\(\w+\)[a-z]|%[a-z%]|\{\w+\}")


@dataclass(frozen=True)
class Message:
    text: str  # in English; of a plural, the singular
    plural: str
    forms: tuple[str, ...]  # the translation; of a plural, as many as the language has
    is_fuzzy: bool

    @property
    def problem(self) -> str:
        """What is wrong with its translation; empty if nothing is."""
        if not all(self.forms):
            return "is not translated"
        if self.is_fuzzy:
            return "is fuzzy: read its translation, and take the mark away"
        wanted, found = _placeholders(self.plural or self.text), _placeholders(*self.forms)
        return f"has {_list(wanted)}, its translation {_list(found)}" if wanted != found else ""


def problems(files: list[str], env: dict[str, str]) -> list[str]:
    """What is wrong with the catalogues among `files`, which are the SOURCES; a line for each problem."""
    catalogues = [name for name in files if name.endswith(".po")]
    return [f"{name}: {words}" for name in catalogues for words in _problems(name, files, env)]


def _problems(name: str, files: list[str], env: dict[str, str]) -> Iterator[str]:
    yield from _misformed(name)
    there, said = _read(places.ROOT / name), _said_by_the_code(name, files, env)
    yield from (f"“{said[key].text}” is missing." for key in said if key not in there)
    yield from (f"“{there[key].text}” is no longer said." for key in there if key not in said)
    if there.keys() != said.keys():
        yield f"Run ./dev manage {' '.join(_make(name))}"
    yield from (f"“{one.text}” {one.problem}" for one in there.values() if one.problem)


def _misformed(name: str) -> list[str]:
    catalogue = places.ROOT / name
    checked = subprocess.run(
        ["msgfmt", "--check-format", "--check-domain", "--output-file=/dev/null", catalogue.name],
        cwd=catalogue.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return checked.stderr.splitlines()


def _said_by_the_code(name: str, files: list[str], env: dict[str, str]) -> dict[str, Message]:
    """The messages of a new catalogue, made in a copy: makemessages also writes beside what it reads."""
    with TemporaryDirectory() as folder:
        copy = Path(folder)
        rights.give_to_owner(copy)
        how = rights.as_owner(env)
        subprocess.run(["cp", "--parents", "-t", folder, *files], cwd=places.ROOT, check=True, **how)
        (copy / name).unlink()
        make = [places.program("python"), "manage.py", *_make(name)]
        subprocess.run(make, cwd=copy, check=True, stdout=subprocess.DEVNULL, **how)
        return _read(copy / name)


def _make(name: str) -> list[str]:
    return ["makemessages", "--locale", Path(name).parts[2], *MAKE]


def _read(catalogue: Path) -> dict[str, Message]:
    """By context and English text. The header is left out: its text is empty."""
    entries = (_entry(text) for text in catalogue.read_text().split("\n\n"))
    return {key: message for key, message in entries if message.text}


def _entry(lines: str) -> tuple[str, Message]:
    fields = {name: _unquoted(text) for name, text in FIELD.findall(lines)}
    text = fields.get("msgid", "")
    forms = tuple(form for name, form in fields.items() if name.startswith("msgstr"))
    is_fuzzy = any(line.startswith("#,") and "fuzzy" in line for line in lines.splitlines())
    return f"{fields.get('msgctxt', '')}|{text}", Message(
        text, fields.get("msgid_plural", ""), forms, is_fuzzy
    )


def _unquoted(lines: str) -> str:
    return "".join(ast.literal_eval(line) for line in lines.splitlines())


def _placeholders(*texts: str) -> set[str]:
    return {found for text in texts for found in PLACEHOLDER.findall(text)}


def _list(placeholders: set[str]) -> str:
    return " ".join(sorted(placeholders)) or "no placeholder"
