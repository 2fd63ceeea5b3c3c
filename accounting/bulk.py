"""Many rows in one statement, where a centre's history comes in: COPY on PostgreSQL, one prepared INSERT elsewhere.

Rows are tuples in the order of the named columns; ids come from the database. No signals, no defaults of the model.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from django.db import connection
from django.db.models import Field, Model, QuerySet
from psycopg.types.json import set_json_dumps

AT_ONCE = 500  # below SQLite's limit of variables
AS_IT_IS = frozenset({type(None), str, int, bool, bytes})  # its driver needs no field to prepare these

Rows = Iterable[tuple[Any, ...]]


def among(rows: QuerySet[Any, Any], column: str, values: Sequence[str]) -> Iterator[Any]:
    """Those of `rows` whose `column` is one of `values`, however many: one array on PostgreSQL, lists elsewhere."""
    if connection.vendor == "postgresql":
        named = f"{_quoted(rows.model._meta.db_table)}.{_quoted(column)}"
        # In a subquery, so that the planner doesn't see how many they are: for thousands it would read the whole table.
        among = f"{named} = ANY(ARRAY(SELECT json_array_elements_text(%s)))"
        yield from rows.extra(where=[among], params=[json.dumps(values)])  # noqa: S610  # our own names
        return
    for at in range(0, len(values), AT_ONCE):
        yield from rows.filter(**{f"{column}__in": values[at : at + AT_ONCE]})


def insert(model: type[Model], columns: Sequence[str], rows: Rows) -> None:
    """`rows` is read as the database takes them in, and must ask it nothing."""
    with connection.cursor() as cursor:
        _put(cursor, model, _quoted(model._meta.db_table), columns, rows)


def add_up(
    model: type[Model], key: Sequence[str], sums: Sequence[str], facts: Sequence[str], rows: Rows
) -> None:
    """Add each row's `sums` to the row with its `key`, made if missing; its `facts` replace what is there, if known."""
    columns = [*key, *sums, *facts]
    table = _quoted(model._meta.db_table)
    added = [f"{name} = {table}.{name} + excluded.{name}" for name in map(_quoted, sums)]
    kept = [f"{name} = coalesce(excluded.{name}, {table}.{name})" for name in map(_quoted, facts)]
    conflict = f"ON CONFLICT ({_names(key)}) DO UPDATE SET {', '.join([*added, *kept])}"
    with connection.cursor() as cursor:
        if connection.vendor != "postgresql":
            _put(cursor, model, table, columns, rows, conflict)
            return
        cursor.execute(
            f"CREATE TEMPORARY TABLE IF NOT EXISTS adding (LIKE {table}) ON COMMIT DROP; TRUNCATE adding;"
            "ALTER TABLE adding ALTER id DROP NOT NULL"
        )
        _put(cursor, model, "adding", columns, rows)
        names = _names(columns)
        cursor.execute(f"INSERT INTO {table} ({names}) SELECT {names} FROM adding {conflict}")  # noqa: S608  # our own names


def change(model: type[Model], columns: Sequence[str], rows: Rows, **where: str) -> None:
    """Give the rows whose ids come first in `rows` their own `columns`, where other columns still are as `where` says.

    Texts, numbers and moments only.
    """
    names, adapt = ["id", *columns], connection.ops.adapt_datetimefield_value
    values = [[value if type(value) in AS_IT_IS else str(adapt(value)) for value in row] for row in rows]
    if not values:
        return
    table, postgresql = _quoted(model._meta.db_table), connection.vendor == "postgresql"
    casts = [f"::{kind}" if postgresql else "" for kind in _types(model, names)]
    picked = ", ".join(f"(value ->> {place}){cast}" for place, cast in enumerate(casts))
    changes = ", ".join(f"{name} = changed.{name}" for name in map(_quoted, columns))
    still = "".join(f" AND {table}.{_quoted(name)} = %s" for name in where)
    each = "json_array_elements(%s) AS given(value)" if postgresql else "json_each(%s)"
    with connection.cursor() as cursor:
        cursor.execute(
            f"WITH changed ({_names(names)}) AS (SELECT {picked} FROM {each}) "  # noqa: S608  # our own names
            f"UPDATE {table} SET {changes} FROM changed WHERE {table}.id = changed.id{still}",
            [json.dumps(values), *where.values()],
        )


def measure(*models: type[Model]) -> None:
    """Let PostgreSQL's planner see how large these tables have become. It finds out by itself a minute later or so."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"ANALYZE {', '.join(_quoted(model._meta.db_table) for model in models)}")


def _put(
    cursor: Any, model: type[Model], table: str, columns: Sequence[str], rows: Rows, conflict: str = ""
) -> None:
    names = _names(columns)
    if connection.vendor == "postgresql":
        set_json_dumps(_json, cursor)
        with cursor.copy(f"COPY {table} ({names}) FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(_types(model, columns))
            for row in rows:
                copy.write_row(row)
        return
    marks = ", ".join(["%s"] * len(columns))
    statement = f"INSERT INTO {table} ({names}) VALUES ({marks}) {conflict}"  # noqa: S608  # our own names
    cursor.executemany(statement, _prepared(model, columns, rows))


def _json(value: dict[str, int]) -> str:
    return _json_of(tuple(value.items()))


@lru_cache(maxsize=1024)
def _json_of(items: tuple[tuple[str, int], ...]) -> str:
    """Few objects stand in many rows: how many GPUs of which type, say."""
    return json.dumps(dict(items))


def _prepared(model: type[Model], columns: Sequence[str], rows: Rows) -> Iterator[tuple[Any, ...]]:
    fields = _fields(model, columns)
    for row in rows:
        yield tuple(
            value if type(value) in AS_IT_IS else field.get_db_prep_save(value, connection)
            for field, value in zip(fields, row, strict=True)
        )


def _types(model: type[Model], columns: Sequence[str]) -> list[str]:
    """Their types in the database, without a length."""
    return [str(field.db_type(connection)).partition("(")[0] for field in _fields(model, columns)]


def _fields(model: type[Model], columns: Sequence[str]) -> list[Field[Any, Any]]:
    by_column = {field.column: field for field in model._meta.concrete_fields}
    return [by_column[column] for column in columns]


def _names(columns: Sequence[str]) -> str:
    return ", ".join(map(_quoted, columns))


def _quoted(name: str) -> str:
    return connection.ops.quote_name(name)
