"""What was measured of a page, and whether that is good enough."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.bench.measuring.asking import Server, Visit

MOST_QUERIES = 15
MOST_RATIO = 1.5
MOST_P95 = 0.050  # seconds
WARM_UP = 2
ROUNDS = 12
MORE_ROUNDS = 40  # for a page that seems too slow: a busy machine is not the page's fault


@dataclass
class Figures:
    """One page, in the full centre and in the bare one. Seconds."""

    visit: Visit
    queries: int
    bare_queries: int
    full: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        return statistics.median(self.full) / statistics.median(self.bare)

    @property
    def faults(self) -> list[str]:
        return [
            *([f"{self.queries} queries"] if self.queries > MOST_QUERIES else []),
            *([f"{self.ratio:.2f} times slower"] if self.ratio > MOST_RATIO else []),
            *([f"p95 of {1000 * p95(self.full):.0f} ms"] if p95(self.full) >= MOST_P95 else []),
        ]

    def __str__(self) -> str:
        one, other = ([1000 * statistics.median(t), 1000 * p95(t)] for t in (self.full, self.bare))
        return (
            f"{self.visit.role:<17} {self.visit.address:<44} {one[0]:6.1f} {one[1]:6.1f} {self.queries:4}"
            f"   {other[0]:6.1f} {other[1]:6.1f} {self.bare_queries:4}   {self.ratio:5.2f}"
        )


HEAD = (
    f"{'':<62} {'full centre':>18}   {'bare centre':>18}\n"
    f"{'role':<17} {'page':<44} {'p50':>6} {'p95':>6} {'sql':>4}   {'p50':>6} {'p95':>6} {'sql':>4}   {'ratio':>5}   (ms)"
)


def p95(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=20, method="inclusive")[-1]


def measured(visits: list[Visit], full: Server, bare: Server) -> Iterator[Figures]:
    """Page after page, each asked in turn of one server and the other: whatever slows the machine slows both."""
    for visit in visits:
        figures = Figures(visit, full.queries(visit), bare.queries(visit))
        for server in (full, bare) * WARM_UP:
            server.seconds(visit)
        _ask(figures, full, bare, ROUNDS)
        if figures.faults:
            _ask(figures, full, bare, MORE_ROUNDS)
        yield figures


def _ask(figures: Figures, full: Server, bare: Server, rounds: int) -> None:
    for _ in range(rounds):
        figures.full.append(full.seconds(figures.visit))
        figures.bare.append(bare.seconds(figures.visit))
