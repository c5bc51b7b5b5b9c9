"""What adapters add to a projection's output: a shrink to the rank and an expand to the module's columns.

Shapes: N rows, B sequences of T tokens (N = B T), A adapters, M rows of the adapter that has most, R rank, I in,
O out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Product(Protocol):
    """Something added in place to columns of an output."""

    def add_to(self, inputs_NI: Tensor, output_NO: Tensor) -> None:
        """Adds it."""
        ...


@dataclass(frozen=True)
class Expansion:
    """From some ranks of a shrink to columns of the output; ``up``: [R, O], gates folded in."""

    up: Tensor
    ranks: slice
    columns: slice


@dataclass(frozen=True)
class SharedProduct:
    """The same experts for every row; ``down``: [I, R], of all expansions side by side."""

    down: Tensor
    expansions: tuple[Expansion, ...]

    def add_to(self, inputs_NI: Tensor, output_NO: Tensor) -> None:
        """Adds x A B."""
        inner_NR = inputs_NI @ self.down
        for one in self.expansions:
            output_NO[:, one.columns].addmm_(inner_NR[:, one.ranks], one.up)


@dataclass(frozen=True)
class StackedProduct:
    """Experts of one module stacked, each row with gates of its own.

    ``down``: [I, R]. ``up``: [R, O]. ``gates``: [B, 1, R], for each row its gate in the columns of its own expert,
    else 0. ``others``: booleans alike, True where a column belongs to another adapter: there an overflow must not
    reach this row as 0 · inf.
    """

    down: Tensor
    up: Tensor
    start: int
    stop: int
    gates: Tensor
    others: Tensor | None = None

    def add_to(self, inputs_NI: Tensor, output_NO: Tensor) -> None:
        """Adds (gates ⊙ x A) B."""
        inner_NR = inputs_NI @ self.down
        inner_BTR = inner_NR.view(self.gates.shape[0], -1, inner_NR.shape[1])
        inner_BTR.mul_(self.gates)
        if self.others is not None:
            inner_BTR.masked_fill_(self.others, 0)
        output_NO[:, self.start : self.stop].addmm_(inner_NR, self.up)


@dataclass(frozen=True)
class ModuleBatch:
    """The adapters that rows chose one module of.

    ``down``: [A, I, R]. ``up``: [A, R, O]. ``added``: where their products go, [A, M, O].
    """

    down: Tensor
    up: Tensor
    added: Tensor


@dataclass(frozen=True)
class BatchedProduct:
    """Modules of one projection, each a batched product over adapters with just the rows that chose it.

    Places are rows of a module's product: module by module, adapter by adapter, and an adapter with fewer rows than M
    repeats its first one. Cells are a few columns of one row; every module's output is some cells wide.

    ``rows``: of the places. ``gates``: [places, 1]. ``cells``: what the modules add, cell by cell, each ``added`` a
    view of it, and a last one of zeros. ``sources``: of each cell of the output the one that is added to it.
    """

    modules: tuple[ModuleBatch, ...]
    rows: Tensor
    gates: Tensor
    cells: Tensor
    sources: Tensor

    def add_to(self, inputs_NI: Tensor, output_NO: Tensor) -> None:
        """Adds gates ⊙ x A B to the rows that it is for."""
        # Gathering and adding back cost more than the products of a few rows: once for all modules.
        gated = inputs_NI.index_select(0, self.rows).mul_(self.gates)
        start = 0
        for module in self.modules:
            adapters, most_rows, _ = module.added.shape
            stop = start + adapters * most_rows
            inner_AMR = torch.bmm(gated[start:stop].view(adapters, most_rows, -1), module.down)
            torch.bmm(inner_AMR, module.up, out=module.added)
            start = stop
        # Every cell takes one: torch's ways to add to some alone sort them first.
        output_NO.view(-1, self.cells.shape[1]).add_(self.cells.index_select(0, self.sources))


@dataclass(frozen=True)
class Rescaling:
    """DoRA's part: columns of the base's output times ``factors``, 1 + gate (m / n - 1), plus ``offsets``.

    Both: [1 or B, 1, O], float32. ``offsets``: what the factors took from the bias too much.
    """

    start: int
    stop: int
    factors: Tensor
    offsets: Tensor | None

    def apply(self, output_NO: Tensor) -> None:
        """Rescales in place."""
        rows = self.factors.shape[0]
        part_BTO = output_NO.view(rows, -1, output_NO.shape[1])[..., self.start : self.stop]
        part_BTO.mul_(self.factors)
        if self.offsets is not None:
            part_BTO.add_(self.offsets)


class Update:
    """All that adapters change of one projection's output."""

    def __init__(self, rescalings: tuple[Rescaling, ...], products: tuple[Product, ...]) -> None:
        self._rescalings = rescalings
        self._products = products
        self.rescales = bool(rescalings)

    def apply(self, inputs_NI: Tensor, output_NO: Tensor) -> Tensor:
        """The output with the adapters, in place."""
        for rescaling in self._rescalings:
            rescaling.apply(output_NO)
        for product in self._products:
            product.add_to(inputs_NI, output_NO)
        return output_NO


def rescaling(start: int, gates_B11: Tensor, rescale_O: Tensor, bias_O: Tensor | None) -> Rescaling:
    """The rescaling of a module's columns from ``start`` by a gate a sequence."""
    change_B1O = gates_B11 * rescale_O
    offset = None if bias_O is None else -change_B1O * bias_O
    return Rescaling(start, start + rescale_O.shape[0], 1 + change_B1O, offset)
