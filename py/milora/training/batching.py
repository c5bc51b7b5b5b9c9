"""Rows to micro-batches, ordered by length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from milora.data import TokenRow
from milora.training.ranks import Ranks


class Pass(NamedTuple):
    """A micro-batch; one that does not ``count`` is made only because another rank makes a pass then."""

    rows: list[TokenRow]
    counts: bool = True


@dataclass(frozen=True)
class StepRows:
    """The rows of a step: this rank's passes, and what all ranks' rows add up to.

    ``first`` is a row of the whole step; None where no row has answer tokens.
    """

    passes: list[Pass]
    first: TokenRow | None
    rows: int
    tokens: int
    answer_tokens: int


def micro_batches(rows: Sequence[TokenRow], size: int) -> list[list[TokenRow]]:
    """Groups of at most ``size`` rows of similar length; rows without answer tokens are left out."""
    kept = sorted(_with_answer(rows), key=lambda row: row.length)
    return [kept[begin : begin + size] for begin in range(0, len(kept), size)]


def own_passes(rows: Sequence[TokenRow], size: int, ranks: Ranks) -> list[Pass]:
    """This rank's share of the micro-batches of rows; ranks in lockstep make as many passes as the one with most."""
    shares = deal(rows, size, ranks.count)
    own = [Pass(group) for group in shares[ranks.index]]
    if ranks.lockstep:
        own += [_filler(rows) for _ in range(max(map(len, shares)) - len(own))]
    return own


def deal(rows: Sequence[TokenRow], size: int, count: int) -> list[list[list[TokenRow]]]:
    """The micro-batches of rows, [ranks][groups][rows]; every process finds all shares alike.

    A group is no larger than an even share of the tokens, where that is more than one row, and the largest groups go
    first, each to the rank that has least: rows of one group are alike, and so are the ranks' shares.
    """
    if count == 1:
        return [micro_batches(rows, size)]
    share = sum(row.length for row in rows if row.answer_ids) / count
    groups: list[list[TokenRow]] = []
    for row in sorted(_with_answer(rows), key=lambda row: -row.length):
        last = groups[-1] if groups else []
        if 0 < len(last) < size and last[0].length * (len(last) + 1) <= share:
            last.append(row)
        else:
            groups.append([row])
    loads = [0] * count
    shares: list[list[list[TokenRow]]] = [[] for _ in range(count)]
    for group in sorted(groups, key=_padded_tokens, reverse=True):
        rank = loads.index(min(loads))
        loads[rank] += _padded_tokens(group)
        shares[rank].append(group)
    return shares


def step_rows(rows: Sequence[TokenRow], size: int, ranks: Ranks) -> StepRows:
    """What of a step's rows this rank computes, in groups of at most ``size``."""
    kept = _with_answer(rows)
    return StepRows(
        passes=own_passes(kept, size, ranks),
        first=kept[0] if kept else None,
        rows=len(kept),
        tokens=sum(row.length for row in kept),
        answer_tokens=sum(len(row.answer_ids) for row in kept),
    )


def _filler(rows: Sequence[TokenRow]) -> Pass:
    """The shortest pass that there is: a token of a prompt and one of its answer."""
    row = next(row for row in rows if row.answer_ids)
    return Pass([TokenRow(row.prompt_ids[:1], row.answer_ids[:1])], counts=False)


def _padded_tokens(group: Sequence[TokenRow]) -> int:
    return len(group) * max(row.length for row in group)


def _with_answer(rows: Sequence[TokenRow]) -> list[TokenRow]:
    return [row for row in rows if row.answer_ids]
