"""Cuts sorted rows into batches: few passes through the model, little padding in each."""

from __future__ import annotations

from collections.abc import Sequence

PASS_COST = 64
"""What a pass through the model costs beside its tokens, as a number of tokens.

Reading the weights once and starting the kernels takes a small decoder on two CPU cores about as long as this many
tokens' arithmetic; twice or half of it moves the time of a batch by a few percent.
"""

MAX_TOKENS = 8192
"""Tokens in one pass, padding included; they bound the KV cache."""


def packed(lengths: Sequence[int], most_rows: int, width: int = 0) -> list[range]:
    """The cheapest cut of rows, in their order, into batches of neighbours padded to the longest of each.

    Args:
        lengths: Tokens of each row, ascending.
        most_rows: Rows in a batch at most.
        width: Tokens that each row has beside those, such as a prompt in the KV cache; they only count for
            ``MAX_TOKENS``.
    """
    cost = [0.0] + [float("inf")] * len(lengths)
    begin_of = [0] * (len(lengths) + 1)
    for end, longest in enumerate(lengths, start=1):
        for begin in range(end - 1, max(0, end - most_rows) - 1, -1):
            rows = end - begin
            if rows > 1 and rows * (longest + width) > MAX_TOKENS:
                break
            found = cost[begin] + rows * longest + PASS_COST
            if found < cost[end]:
                cost[end], begin_of[end] = found, begin
    cuts: list[range] = []
    end = len(lengths)
    while end > 0:
        cuts.append(range(begin_of[end], end))
        end = begin_of[end]
    return cuts[::-1]
