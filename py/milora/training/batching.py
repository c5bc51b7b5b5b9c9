"""Rows to micro-batches, ordered by length."""

from __future__ import annotations

from collections.abc import Sequence

from milora.data import TokenRow


def micro_batches(rows: Sequence[TokenRow], size: int) -> list[list[TokenRow]]:
    """Groups of at most ``size`` rows of similar length; rows without answer tokens are left out."""
    kept = sorted((row for row in rows if row.answer_ids), key=lambda row: row.length)
    return [kept[begin : begin + size] for begin in range(0, len(kept), size)]
