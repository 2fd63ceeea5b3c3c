"""A list in the address: its page and its order. What the address asks for and we don't know is the usual."""

from __future__ import annotations

from typing import Any

from django.core.paginator import Page, Paginator
from django.db.models import CharField, Count, IntegerField, QuerySet, Subquery, Value
from django.http import HttpRequest
from django.utils.functional import cached_property
from django.views.decorators.http import require_http_methods

from portal.words import grouped

PER_PAGE = 20
MOST_COUNTED = 500
form_page = require_http_methods(["GET", "HEAD", "POST"])


class HowMany(Subquery):
    """How many rows another query finds. Beside a query's own rows, which it does not touch, it is asked once."""

    template = "(SELECT COUNT(*) FROM (%(subquery)s) counted)"
    output_field = IntegerField()


class ByKeys(Paginator):  # type: ignore[type-arg]  # it has none at run time
    """Which rows are on the page is found by itself; those are fetched by their keys, with all that `shown` fetches.

    So what finds the rows is not run for each table they are joined with, and none is joined that nobody sees.
    """

    object_list: Any

    def __init__(self, rows: Any, per_page: int, shown: QuerySet[Any] | None = None) -> None:
        super().__init__(rows, per_page)
        self.shown = rows if shown is None else shown

    def page(self, number: int | str) -> Any:
        if not isinstance(self.object_list, QuerySet):
            return super().page(number)
        if str(number) == "1":
            keys = self._first_keys()
        else:
            number = self.validate_number(number)
            first = (number - 1) * self.per_page
            keys = self._keys(first, first + self.per_page)
        found = {row.pk: row for row in self.shown.filter(pk__in=keys)}
        return Page([found[pk] for pk in keys if pk in found], int(number), self)

    def _first_keys(self) -> list[Any]:
        """Most people look at the first page only: one query finds it, and counts the rows beside."""
        rows = self.object_list.annotate(in_all=HowMany(self._counted()))
        found = list(rows.values_list("pk", "in_all")[: self.per_page])
        self.count = found[0][1] if found else 0
        return [pk for pk, _in_all in found]

    def _counted(self) -> QuerySet[Any]:
        keys: QuerySet[Any] = self.object_list.order_by().values("pk")
        return keys

    def _keys(self, first: int, end: int) -> list[Any]:
        return list(self.object_list.values_list("pk", flat=True)[first:end])


class Pages(ByKeys):
    """Counts no further than anybody turns pages: a database of millions would count longer than it answers.

    `dear`: the rows are dear to find, so it is done once, and for all pages.
    """

    def __init__(
        self, rows: Any, per_page: int, shown: QuerySet[Any] | None = None, *, dear: bool = False
    ) -> None:
        super().__init__(rows, per_page, shown)
        self.dear = dear

    @cached_property
    def count(self) -> int:
        return len(self._listed if isinstance(self.object_list, QuerySet) else self.object_list)

    @cached_property
    def num_pages(self) -> int:
        """What is past the last one is found by a search, not by turning pages."""
        listed = min(self.count, MOST_COUNTED) if isinstance(self.object_list, QuerySet) else self.count
        return max(1, -(-listed // self.per_page))

    @property
    def count_in_words(self) -> str:
        return f"{grouped(MOST_COUNTED)}+" if self.count > MOST_COUNTED else grouped(self.count)

    @cached_property
    def _listed(self) -> list[Any]:
        """The keys of all pages, and one more if there is. One query, for whoever turns to another page."""
        return super()._keys(0, MOST_COUNTED + 1)

    def _first_keys(self) -> list[Any]:
        return self._keys(0, self.per_page) if self.dear else super()._first_keys()

    def _keys(self, first: int, end: int) -> list[Any]:
        return self._listed[first:end]

    def _counted(self) -> QuerySet[Any]:
        return super()._counted()[: MOST_COUNTED + 1]


def page_of(
    request: HttpRequest, rows: Any, shown: QuerySet[Any] | None = None, *, dear: bool = False
) -> Any:
    """`rows` in their order; `shown`: the same ones as they are fetched, without what it takes to find them."""
    return Pages(rows, PER_PAGE, shown, dear=dear).get_page(request.GET.get("page"))


def first_and_count(rows: QuerySet[Any], most: int) -> tuple[list[Any], int]:
    """The first rows, and how many there are in all. One query."""
    in_all = HowMany(rows.order_by().select_related(None).values("pk"))
    first = list(rows.annotate(in_all=in_all)[:most])
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
