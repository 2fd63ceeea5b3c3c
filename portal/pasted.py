"""Addresses as people have them: thirty lines out of a mail, or a table with the columns email, name, role. Pure."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO

NAMED = re.compile(r"\s*\"?(?P<name>[^<\"]*?)\"?\s*<(?P<email>[^<>]+)>\s*\Z")
BETWEEN = re.compile(r"[,;\s]+")
EMAIL, NAME, ROLE = (
    ("email", "e-mail", "mail", "address", "邮箱", "电子邮箱"),
    ("name", "姓名"),
    ("role", "角色"),
)


@dataclass(frozen=True)
class Pasted:
    """One person, as written. Nothing of it is checked yet."""

    line: int
    email: str
    name: str = ""
    role: str = ""


def read(text: str) -> list[Pasted]:
    """Every address in `text`, with the number of its line, from 1."""
    lines = text.splitlines()
    first = next((line for line in lines if line.strip()), "")
    mark = next((mark for mark in "\t;," if mark in first), ",")
    heading = [cell.strip().strip('"').lower() for cell in first.split(mark)]
    if any(cell in EMAIL for cell in heading):
        return list(_table(lines, heading, mark))
    return [found for number, line in enumerate(lines, start=1) for found in _of_line(number, line)]


def _table(lines: list[str], heading: list[str], mark: str) -> Iterator[Pasted]:
    email, name, role = (
        next((n for n, cell in enumerate(heading) if cell in known), None) for known in (EMAIL, NAME, ROLE)
    )
    rows = csv.reader(StringIO("\n".join(lines)), delimiter=mark)
    seen_heading = False
    for row in rows:
        if not any(cell.strip() for cell in row):
            continue
        if not seen_heading:
            seen_heading = True
            continue
        yield Pasted(rows.line_num, _cell(row, email), _cell(row, name), _cell(row, role))


def _cell(row: list[str], column: int | None) -> str:
    return row[column].strip() if column is not None and column < len(row) else ""


def _of_line(number: int, line: str) -> Iterator[Pasted]:
    """ "Mei Lin <mei@northlake.example>", or addresses with commas, semicolons or blanks between them."""
    for part in re.split(r"[;,](?=[^\"]*(?:\"[^\"]*\"[^\"]*)*\Z)", line) if "<" in line else [line]:
        named = NAMED.match(part)
        if named:
            yield Pasted(number, named["email"].strip(), named["name"].strip())
        else:
            yield from (Pasted(number, email) for email in BETWEEN.split(part.strip()) if email)
