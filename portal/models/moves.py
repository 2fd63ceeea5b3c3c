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

    @classmethod
    def state_words(cls) -> dict[str, str]:
        """Every state, in the reader's language."""
        return {value: str(word) for value, word in cls._state_field().flatchoices}

    @classmethod
    def first_state(cls) -> str:
        """In which a new row is."""
        return str(cls._state_field().get_default())

    @classmethod
    def _state_field(cls) -> Any:
        return cls._meta.get_field("state")
