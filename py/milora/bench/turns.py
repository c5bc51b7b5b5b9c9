"""The order in which what is compared takes turns, and how figures of one round make a ratio."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence


def turns(count: int, rounds: int) -> Iterator[tuple[int, bool]]:
    """Whose turn it is, and whether it counts.

    Each has one turn a round, and every round begins with another one. The round before the measured ones does not
    count.
    """
    for turn in range((rounds + 1) * count):
        round_index, place = divmod(turn, count)
        yield (place + round_index) % count, round_index > 0


def median_ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """The median of the rounds' ratios: a machine that is slow for a while is slow for both."""
    return statistics.median(first / second for first, second in zip(above, below, strict=True))
