"""Made-up rows of one length: what a step costs does not depend on what the tokens say."""

from __future__ import annotations

import torch

from milora.data import Dataset, TokenRow

ANSWER_SHARE = 8
"""One token of so many is an answer's."""


def rows_of(tokens: int, count: int, vocabulary: int, seed: int = 0) -> Dataset:
    """``count`` rows of ``tokens`` tokens each, of which the last eighth (at least one) is the answer."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, vocabulary, (count, tokens), generator=generator).tolist()
    prompt = tokens - max(1, tokens // ANSWER_SHARE)
    return Dataset(tuple(TokenRow(tuple(row[:prompt]), tuple(row[prompt:])) for row in ids), "")
