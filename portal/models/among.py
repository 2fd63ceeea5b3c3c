"""`filter(among("project", keys))`: as `project__in=keys`, for hundreds of keys that were asked for before."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db.models import F
from django.db.models.lookups import In


class Among(In):
    """PostgreSQL gets one value. With a place for each key, a statement grew with them: written, parsed, planned anew."""

    def as_postgresql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        if not self.rhs:
            raise EmptyResultSet
        lhs, params = self.process_lhs(compiler, connection)
        keys = ",".join(map(str, self.rhs))  # as text: the driver writes an array one by one
        return f"{lhs} = ANY(%s::bigint[])", (*params, f"{{{keys}}}")


def among(field: str, keys: Iterable[int]) -> Among:
    return Among(F(field), list(keys))
