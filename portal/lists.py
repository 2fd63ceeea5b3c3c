"""A list in the address: its page and its order. What the address asks for and we don't know is the usual."""

from __future__ import annotations

from typing import Any

from django.core.paginator import Page, Paginator
from django.db.models import CharField, Count, Func, QuerySet, Subquery, Value
from django.http import HttpRequest
from django.utils.functional import cached_property
from django.views.decorators.http import require_http_methods

from portal.words import grouped

PER_PAGE = 20
MOST_COUNTED = 1_000
form_page = require_http_methods(["GET", "HEAD", "POST"])


class Pages(Paginator):  # type: ignore[type-arg]  # it has none at run time
    """Two queries: which rows there are, and the page's own, by their ids, with all that `shown` fetches of them.

    So what finds the rows runs once, and none is joined or fetched that nobody sees. Counts no further than anybody
    turns pages: a database of millions would count longer than it answers.
    """

    def __init__(self, rows: Any, per_page: int, shown: QuerySet[Any] | None = None) -> None:
        super().__init__(rows, per_page)
        self.shown = rows if shown is None else shown

    object_list: Any

    @cached_property
    def _ids(self) -> list[Any]:
        return list(self.object_list.values_list("pk", flat=True)[: MOST_COUNTED + 1])

    @cached_property
    def num_pages(self) -> int:
        """What is past the last one is found by a search, not by turning pages."""
        listed = min(self.count, MOST_COUNTED) if isinstance(self.object_list, QuerySet) else self.count
        return max(1, -(-listed // self.per_page))

    @cached_property
    def count(self) -> int:
        return len(self._ids if isinstance(self.object_list, QuerySet) else self.object_list)

    def page(self, number: int | str) -> Any:
        number = self.validate_number(number)
        if not isinstance(self.object_list, QuerySet):
            return super().page(number)
        first = (number - 1) * self.per_page
        ids = self._ids[first : first + self.per_page]
        found = {row.pk: row for row in self.shown.filter(pk__in=ids)}
        return Page([found[pk] for pk in ids if pk in found], number, self)

    @property
    def count_in_words(self) -> str:
        return f"{grouped(MOST_COUNTED)}+" if self.count > MOST_COUNTED else grouped(self.count)


def page_of(request: HttpRequest, rows: Any, shown: QuerySet[Any] | None = None) -> Any:
    """`rows` in their order; `shown`: the same ones as they are fetched, without what it takes to find them."""
    return Pages(rows, PER_PAGE, shown).get_page(request.GET.get("page"))


def first_and_count(rows: QuerySet[Any], most: int) -> tuple[list[Any], int]:
    """The first rows, and how many there are in all. One query."""
    # Counted beside, not over, the rows: what they are joined with need not be looked at.
    in_all = rows.order_by().select_related(None).annotate(all=Func("pk", function="COUNT")).values("all")
    first = list(rows.annotate(in_all=Subquery(in_all))[:most])
    return first, first[0].in_all if first else 0


def counts(**rows: QuerySet[Any]) -> dict[str, int]:
    """How many there are of each. One query."""
    if not rows:
        return {}
    one, *others = (
        each.order_by().values_list(Value(name, CharField())).annotate(count=Count("pk"))
        for name, each in rows.items()
    )
    return dict.fromkeys(rows, 0) | dict(one.union(*others, all=True))


def order(request: HttpRequest, known: dict[str, str], usual: str) -> tuple[str, str]:
    """?sort=title or -title as fields to order by."""
    wanted = request.GET.get("sort", usual)
    down = "-" if wanted.startswith("-") else ""
    return f"{down}{known.get(wanted.lstrip('-'), known[usual])}", f"{down}pk"
