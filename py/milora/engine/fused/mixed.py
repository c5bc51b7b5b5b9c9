"""The update of a mixed batch: each module for just the rows that chose it.

*Batched*: two batched products over adapters, each with its own rows. *Stacked*: every row times the experts of all
adapters, masked, where that costs less (docs/decisions/engine.md).

Shapes: B rows, A adapters, M rows of the adapter that has most, R rank, I in, O out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from milora.engine.fused.products import (
    BatchedProduct,
    ModuleBatch,
    Product,
    Rescaling,
    StackedProduct,
    Update,
)
from milora.engine.fused.resident import Expert, ResidentAdapter
from milora.engine.fused.sites import Sites, Slot
from milora.engine.fused.stacks import Stack, StackKeeper, batched_weights, stacked_weights

# What gathering rows and adding them back costs more than a mask, in multiplications of a product; measured on a CPU.
_GATHER_COST = 250_000


@dataclass(frozen=True)
class Entry:
    """A row that chose a module."""

    row: int
    adapter: ResidentAdapter
    expert: Expert
    gate: float


@dataclass(frozen=True)
class _Choosers:
    """The rows that chose one module, by adapter."""

    slot: Slot
    rows: dict[ResidentAdapter, list[Entry]]

    @property
    def experts(self) -> list[Expert]:
        return [chosen[0].expert for chosen in self.rows.values()]

    @property
    def most_rows(self) -> int:
        return max(map(len, self.rows.values()))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the batched product: adapters, rows of each, columns."""
        return len(self.rows), self.most_rows, self.slot.stop - self.slot.start


@dataclass
class MixedUpdates:
    """Makes the updates of one plan; ``uses_kernel``: by the Triton kernel."""

    sites: Sites
    stacks: StackKeeper
    uses_kernel: bool
    _buffers: dict[tuple[int, int], Tensor] = field(default_factory=dict)

    def update(self, layer: int, entries: Sequence[Entry], rows: int) -> Update:
        """One projection's update.

        Args:
            layer: Its layer's index.
            entries: The rows that chose one of its modules, a module each.
            rows: Rows of the batch.
        """
        rescalings: list[Rescaling] = []
        products: list[Product] = []
        batched: list[_Choosers] = []
        for start in sorted({entry.expert.slot.start for entry in entries}):
            chosen = [entry for entry in entries if entry.expert.slot.start == start]
            choosers = _choosers(chosen)
            if self.uses_kernel:
                products.append(self._by_kernel(layer, choosers))
            elif _stacks_safely(choosers) and stacking_costs_less(choosers.experts, rows, choosers.most_rows):
                products.append(self._stacked(layer, choosers, rows))
            else:
                batched.append(choosers)
            if any(entry.expert.rescale is not None for entry in chosen):
                rescalings.append(_rescaling(chosen, rows, self.sites.device))
        if batched:
            products.append(self._batched(layer, batched, rows))
        return Update(tuple(rescalings), tuple(products))

    def _stacked(self, layer: int, choosers: _Choosers, rows: int) -> StackedProduct:
        slot = choosers.slot
        down_IR, up_RO = self.stacks.take(
            layer, ("stacked", slot, *choosers.rows), lambda: stacked_weights(choosers.experts)
        )
        gates_BR = torch.zeros(rows, down_IR.shape[1])
        others_BR = torch.ones(rows, down_IR.shape[1], dtype=torch.bool)
        start = 0
        for chosen in choosers.rows.values():
            stop = start + chosen[0].expert.down.shape[1]
            for entry in chosen:
                gates_BR[entry.row, start:stop] = entry.gate
                others_BR[entry.row, start:stop] = False
            start = stop
        others = others_BR.unsqueeze(1).to(self.sites.device) if bool(others_BR.any()) else None
        return StackedProduct(
            down_IR, up_RO, slot.start, slot.stop, gates_BR.unsqueeze(1).to(self.sites.device), others
        )

    def _batched(self, layer: int, modules: Sequence[_Choosers], rows: int) -> BatchedProduct:
        width, cell = self._columns(layer, modules[0].slot.group)
        device = self.sites.device
        num_cells = sum(math.prod(choosers.shape) for choosers in modules) // cell
        cells = self._cells(num_cells, cell)
        sources = torch.full((rows, width // cell), cells.shape[0] - 1)
        batches: list[ModuleBatch] = []
        placed: list[Entry] = []
        first = 0
        for choosers in modules:
            adapters, most_rows, _ = choosers.shape
            last = first + math.prod(choosers.shape) // cell
            batches.append(ModuleBatch(*self._stack(layer, choosers), cells[first:last].view(choosers.shape)))
            columns = slice(choosers.slot.start // cell, choosers.slot.stop // cell)
            added = torch.arange(first, last).view(adapters, most_rows, -1)
            for own, chosen in zip(added, choosers.rows.values(), strict=True):
                sources[[entry.row for entry in chosen], columns] = own[: len(chosen)]
                placed += [*chosen, *[chosen[0]] * (most_rows - len(chosen))]
            first = last
        return BatchedProduct(
            modules=tuple(batches),
            rows=torch.tensor([entry.row for entry in placed], device=device),
            gates=torch.tensor([entry.gate for entry in placed], device=device).unsqueeze(1),
            cells=cells,
            sources=sources.flatten().to(device),
        )

    def _by_kernel(self, layer: int, choosers: _Choosers) -> Product:
        from milora.engine.fused.kernel import KernelProduct

        down_ARI, up_ARO = self.stacks.take(
            layer, ("kernel", choosers.slot, *choosers.rows), lambda: _kernel_weights(choosers.experts)
        )
        pairs = [(index, entry) for index, chosen in enumerate(choosers.rows.values()) for entry in chosen]
        device = self.sites.device
        return KernelProduct(
            rows=torch.tensor([entry.row for _, entry in pairs], device=device),
            adapters=torch.tensor([index for index, _ in pairs], device=device),
            gates=torch.tensor([entry.gate for _, entry in pairs], device=device),
            down=down_ARI,
            up=up_ARO,
            start=choosers.slot.start,
        )

    def _stack(self, layer: int, choosers: _Choosers) -> Stack:
        key = ("batched", choosers.slot, *choosers.rows)
        return self.stacks.take(layer, key, lambda: batched_weights(choosers.experts))

    def _cells(self, count: int, width: int) -> Tensor:
        """At least ``count`` cells and a last one of zeros; layers run one after the other and share them."""
        rounded = 1 << (count - 1).bit_length()
        if (rounded, width) not in self._buffers:
            zeros = torch.zeros(rounded + 1, width, dtype=self.sites.dtype, device=self.sites.device)
            self._buffers[rounded, width] = zeros
        return self._buffers[rounded, width]

    def _columns(self, layer: int, group: int) -> tuple[int, int]:
        """How wide a group's output is, and the widest cells that all its modules are made of."""
        slots = [site.slot for site in self.sites.layers[layer].values() if site.slot.group == group]
        return max(slot.stop for slot in slots), math.gcd(*(slot.stop for slot in slots))


def stacking_costs_less(experts: Sequence[Expert], rows: int, most_rows: int) -> bool:
    """Whether every row times every expert, masked, costs less than gathering each adapter's rows.

    Both read each expert once. Stacked, a row is multiplied with the experts of all adapters; batched, rows are
    gathered, padded to the adapter that has most, and added back.
    """
    width = experts[0].down.shape[0] + experts[0].up.shape[1]
    stacked = rows * sum(expert.down.shape[1] for expert in experts)
    batched = most_rows * len(experts) * max(expert.down.shape[1] for expert in experts)
    return (stacked - batched) * width <= _GATHER_COST


def _choosers(entries: Sequence[Entry]) -> _Choosers:
    rows: dict[ResidentAdapter, list[Entry]] = {}
    for entry in entries:
        rows.setdefault(entry.adapter, []).append(entry)
    return _Choosers(entries[0].expert.slot, rows)


def _stacks_safely(choosers: _Choosers) -> bool:
    """Masked rows still meet every expert's B: 0 · NaN would reach them."""
    return all(adapter.is_finite for adapter in choosers.rows)


def _kernel_weights(experts: Sequence[Expert]) -> Stack:
    down_AIR, up_ARO = batched_weights(experts)
    return down_AIR.transpose(1, 2).contiguous(), up_ARO


def _rescaling(entries: Sequence[Entry], rows: int, device: torch.device) -> Rescaling:
    slot = entries[0].expert.slot
    factor_B1O = torch.ones(rows, 1, slot.stop - slot.start, device=device)
    bias = next((entry.expert.bias for entry in entries if entry.expert.bias is not None), None)
    for entry in entries:
        if entry.expert.rescale is not None:
            factor_B1O[entry.row] += entry.gate * entry.expert.rescale
    return Rescaling(slot.start, slot.stop, factor_B1O, None if bias is None else (1 - factor_B1O) * bias)
