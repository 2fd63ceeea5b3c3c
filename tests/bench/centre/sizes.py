"""How large is the centre, and how is a whole divided among its parts?"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
BATCH = 2_000  # rows per statement

INSTITUTIONS = 500
LABS = 1_000
PROJECTS = 2_000
PEOPLE = 20_000
JOBS = 50_000
UNFINISHED = 400  # of the jobs
REQUESTS = 6_000  # beside those of which each allocation came
WAITING = 150  # of the requests
FUNDERS = 20


@dataclass
class Dice:
    """The same throws each time. The first of anything comes up often, the last rarely: as in life, a few are large."""

    random: random.Random

    def one(self, things: Sequence[T]) -> T:
        return things[int(len(things) * self.random.random() ** 2)]

    def evenly(self, things: Sequence[T]) -> T:
        return things[self.random.randrange(len(things))]

    def upto(self, most: int) -> int:
        return self.random.randrange(most)

    def happens(self, share: float) -> bool:
        return self.random.random() < share


def dice(seed: int) -> Dice:
    return Dice(random.Random(seed))  # noqa: S311
