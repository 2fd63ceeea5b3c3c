"""What a scheduler's own books say of a period: the figures that ours are held against. Pure; no Django."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Books:
    """GPU-seconds of each account's own jobs, without those of accounts below it, in [begin, until)."""

    by_account: Mapping[str, int]
    until: (
        datetime  # a scheduler adds up whole hours: so far it has come, at most to the end that was asked for
    )
    idle: int  # GPU-seconds that were reserved and not used: it counts them as used by whom they were reserved for
