"""What a model with states shares: its table of moves, as data."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any, ClassVar

from django.db import models


class Moving(models.Model):
    """Has a `state` field and `MOVES`: from each state, the states it may go to. Only `transitions.advance` moves it."""

    MOVES: ClassVar[Mapping[Any, AbstractSet[Any]]]
    state: Any  # a CharField in each model

    class Meta:
        abstract = True
