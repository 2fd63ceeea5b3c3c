"""What a chart says: frozen, the same numbers for the drawing, its table and its download."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

Number = int | float | Decimal


@dataclass(frozen=True)
class Series:
    """One line or one set of bars. `dashed` is for what is planned or forecast, not measured."""

    name: str
    values: Sequence[Number | None]  # as many as the chart has labels; None is a gap
    dashed: bool = False


@dataclass(frozen=True)
class Chart:
    """`title` is what a screen reader says; values are in `unit`."""

    title: str
    unit: str
    labels: Sequence[str]
    series: Sequence[Series]
    kind: Literal["bar", "line"] = "bar"
    stacked: bool = False
    label_head: str = ""  # the heading above the labels in the table

    @property
    def rows(self) -> Iterator[tuple[str, tuple[Number | None, ...]]]:
        """The table: (label, one value of each series)."""
        return zip(self.labels, zip(*(one.values for one in self.series), strict=True), strict=True)

    @property
    def data(self) -> dict[str, Any]:
        """The drawing, for json_script. Floats will do there: nobody adds up pixels."""
        return {
            "title": self.title,
            "unit": self.unit,
            "kind": self.kind,
            "stacked": self.stacked,
            "labels": list(self.labels),
            "series": [
                {
                    "name": one.name,
                    "dashed": one.dashed,
                    "values": [None if value is None else float(value) for value in one.values],
                }
                for one in self.series
            ],
        }
