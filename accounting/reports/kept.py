"""Sums over many rows, kept in this process until something is added to what they are made of.

A sum is kept under a mark of all that it is made of: the same mark, the same sum. A mark is asked of the database
each time, so what any process changed is seen by all.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import ParamSpec, TypeVar

from django.db.models import Sum

from accounting.models import Cluster

P = ParamSpec("P")
T = TypeVar("T")

_forgetting: list[Callable[[], None]] = []


def kept(make: Callable[P, T]) -> Callable[P, T]:
    """The latest answers of `make` are kept. Its arguments are a mark of all that it reads.

    The answers are shared: nobody may change one.
    """
    keeping = lru_cache(maxsize=64)(make)
    _forgetting.append(keeping.cache_clear)
    return keeping  # type: ignore[return-value]  # it takes what `make` takes


def forget() -> None:
    """In another database, or one that was emptied, the same marks mean other rows."""
    for each in _forgetting:
        each()


def usage_mark() -> int:
    """Another one after each change of any cluster's usage. One query."""
    mark: int = Cluster.objects.aggregate(sum=Sum("usage_version", default=0))["sum"]
    return mark
