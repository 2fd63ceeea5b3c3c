"""What a centre registers, as it stands in a TOML file: clusters, funders, institutions and people.

docs/register.example.toml is such a file. A dataclass is a table and its fields are the keys; what may be None
may be left out, and then stays in the database as it is. Knows nothing of the database.
"""

from __future__ import annotations

import tomllib
from dataclasses import MISSING, Field, dataclass, fields
from datetime import date
from decimal import Decimal
from typing import Any, get_args, get_origin, get_type_hints


class RegistryErrors(Exception):
    """The file can't be taken; `sentences` say where and why, all of them."""

    def __init__(self, sentences: list[str]) -> None:
        super().__init__("\n".join(sentences))
        self.sentences = sentences


@dataclass(frozen=True)
class Price:
    factor: Decimal  # GPU-seconds charged for one GPU-second
    valid_from: date  # from its beginning, in UTC


@dataclass(frozen=True)
class Partition:
    name: str
    gpu_type: str
    tier: str
    node_count: int
    gpus_per_node: int
    cpus_per_gpu: int
    memory_per_gpu_mib: int
    max_time_minutes: int
    factors: tuple[Price, ...] = ()


@dataclass(frozen=True)
class Cluster:
    name: str
    title: str
    accepts_jobs: bool
    accounts_need_approval: bool | None = None  # whether staff approve each POSIX user before it is made
    partitions: tuple[Partition, ...] = ()


@dataclass(frozen=True)
class Funder:
    slug: str
    name: str


@dataclass(frozen=True)
class Project:
    slug: str
    account: str
    title: str
    funder: str | None = None  # its slug
    field_of_science: str | None = None
    abstract: str | None = None


@dataclass(frozen=True)
class Lab:
    slug: str
    account: str
    name: str
    projects: tuple[Project, ...] = ()


@dataclass(frozen=True)
class Institution:
    slug: str
    account: str
    name: str
    country: str | None = None
    mail_domain: str | None = None  # people with an address in it may ask to join its labs
    labs: tuple[Lab, ...] = ()


@dataclass(frozen=True)
class RoleHeld:
    role: str
    lab: str | None = None  # INSTITUTION/LAB, by their slugs
    institution: str | None = None
    funder: str | None = None


@dataclass(frozen=True)
class Person:
    email: str
    name: str
    roles: tuple[RoleHeld, ...] = ()


@dataclass(frozen=True)
class Registry:
    clusters: tuple[Cluster, ...] = ()
    funders: tuple[Funder, ...] = ()
    institutions: tuple[Institution, ...] = ()
    people: tuple[Person, ...] = ()


def read(text: str) -> Registry:
    """The file's content. Raises RegistryErrors."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RegistryErrors([f"This is no valid TOML: {error}."]) from None
    reader = _Reader()
    registry = reader.table(Registry, document, "")
    if reader.sentences:
        raise RegistryErrors(reader.sentences)
    return Registry(**registry)


class _Reader:
    """Goes on after a mistake, to tell all of them; what it gives is whole only if there are no sentences."""

    def __init__(self) -> None:
        self.sentences: list[str] = []

    def table(self, kind: type, table: Any, where: str) -> dict[str, Any]:
        """The table's keys and values, each of the type that `kind` has for it."""
        if not isinstance(table, dict):
            self.say(where, "this must be a table")
            return {}
        known = {field.name: field for field in fields(kind)}
        for key in sorted(table.keys() - known.keys()):
            self.say(where, f"there is no key “{key}” here; there are {', '.join(known)}")
        for name in (name for name, field in known.items() if name not in table and _is_needed(field)):
            self.say(where, f"add {name}")
        types = get_type_hints(kind)
        return {
            name: self.value(types[name], table[name], below(where, name)) for name in known if name in table
        }

    def value(self, hint: Any, value: Any, where: str) -> Any:
        if get_origin(hint) is tuple:
            return self.tables(get_args(hint)[0], value, where)
        if hint is Decimal:
            return self.decimal(value, where)
        wanted = next(kind for kind in (get_args(hint) or (hint,)) if kind is not type(None))
        if type(value) is not wanted:
            self.say(where, f"this must be {_WORDS[wanted]}")
        return value

    def tables(self, kind: type, value: Any, where: str) -> tuple[Any, ...]:
        if not isinstance(value, list):
            self.say(where, "this must be a list of tables")
            return ()
        names = [below(where, _name(item, number)) for number, item in enumerate(value, start=1)]
        told = len(self.sentences)
        made = [self.table(kind, item, name) for item, name in zip(value, names, strict=True)]
        return tuple(kind(**item) for item in made) if len(self.sentences) == told else ()

    def decimal(self, value: Any, where: str) -> Decimal:
        if type(value) in (int, float) and Decimal(str(value)).is_finite():
            return Decimal(str(value))
        self.say(where, "this must be a number")
        return Decimal(0)

    def say(self, where: str, what: str) -> None:
        self.sentences.append(f"{where or 'the file'}: {what}.")


_WORDS = {
    str: "text in quotation marks",
    int: "a whole number",
    bool: "true or false",
    date: "a day, as 2026-01-31 without quotation marks",
}


def _is_needed(field: Field[Any]) -> bool:
    return field.default is MISSING


def below(where: str, name: str) -> str:
    """A place inside another, for a sentence."""
    return f"{where} → {name}" if where else name


def _name(item: Any, number: int) -> str:
    """What a person calls this entry: by its own name, if it has one."""
    given = (
        [item[key] for key in ("slug", "name", "email", "role") if key in item]
        if isinstance(item, dict)
        else []
    )
    return str(given[0]) if given else f"no. {number}"
