"""The decode plan of a batch: what its prompts decided, compiled once a batch composition; it runs no router.

A batch with one decision runs one shrink and one expand for each projection with an active expert. In a mixed batch
each module runs for just the rows that chose it: as a batched product over adapters, or stacked with gates a row where
that costs less (docs/decisions/engine.md).

Shapes: B rows, A adapters, M rows of the adapter that has most, R rank, I in, O out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor

from milora.engine.fused.products import (
    BatchedProduct,
    Product,
    Rescaling,
    SharedProduct,
    StackedProduct,
    Update,
    rescaling,
)
from milora.engine.fused.projections import LayerUpdates
from milora.engine.fused.prompt_routing import RowDecision
from milora.engine.fused.resident import Expert, ResidentAdapter
from milora.engine.fused.sites import Sites

Rows = Sequence[RowDecision | None]
"""The decisions of a batch's rows; None: the base model."""

Item = TypeVar("Item")
_Stacks = dict[tuple[object, ...], tuple[Tensor, Tensor]]

# What gathering rows and adding them back costs more than a mask, in multiplications of a product; measured on a CPU.
_GATHER_COST = 250_000


@dataclass(frozen=True)
class _Entry:
    """A row that chose a module."""

    row: int
    adapter: ResidentAdapter
    expert: Expert
    gate: float


@dataclass
class PlanCompiler:
    """Compiles plans; the stacks of experts that the next composition needs again are kept.

    ``uses_kernel``: mixed batches run the Triton kernel.
    """

    sites: Sites
    uses_kernel: bool = False
    _stacks: dict[int, _Stacks] = field(default_factory=dict)
    _earlier: _Stacks = field(default_factory=dict)

    def clear(self) -> None:
        """Forgets the stacks."""
        self._stacks, self._earlier = {}, {}

    @torch.inference_mode()
    def compile(self, rows: Rows) -> list[LayerUpdates] | None:
        """The updates of each layer for a batch; None where every row is the base model's."""
        if all(row is None for row in rows):
            self.clear()
            return None
        earlier, self._stacks = self._stacks, {}
        first = rows[0]
        shared = first is not None and all(_same(first, row) for row in rows)
        plan: list[LayerUpdates] = []
        for layer in range(len(self.sites.layers)):
            # Layer by layer, so that old stacks and new ones never all lie side by side.
            self._earlier = earlier.pop(layer, {})
            if shared and first is not None:
                plan.append(self._by_group(first.active(layer), lambda pair: pair[0], _shared_update))
            else:
                entries = [
                    _Entry(row, decision.adapter, expert, gate)
                    for row, decision in enumerate(rows)
                    if decision is not None
                    for expert, gate in decision.active(layer)
                ]
                plan.append(self._mixed_layer(layer, entries, len(rows)))
        self._earlier = {}
        return plan

    def _mixed_layer(self, layer: int, entries: list[_Entry], rows: int) -> LayerUpdates:
        def update(group: list[_Entry]) -> Update:
            rescalings: list[Rescaling] = []
            products: list[Product] = []
            for start in sorted({entry.expert.slot.start for entry in group}):
                chosen = [entry for entry in group if entry.expert.slot.start == start]
                products.append(self._mixed_product(layer, chosen, rows))
                if any(entry.expert.rescale is not None for entry in chosen):
                    rescalings.append(_mixed_rescaling(chosen, rows, self.sites.device))
            return Update(tuple(rescalings), tuple(products))

        return self._by_group(entries, lambda entry: entry.expert, update)

    def _by_group(
        self, items: Sequence[Item], expert_of: Callable[[Item], Expert], make: Callable[[list[Item]], Update]
    ) -> LayerUpdates:
        groups: list[list[Item]] = [[] for _ in range(self.sites.num_groups)]
        for item in items:
            groups[expert_of(item).slot.group].append(item)
        return [make(group) if group else None for group in groups]

    def _mixed_product(self, layer: int, entries: list[_Entry], rows: int) -> Product:
        by_adapter: dict[ResidentAdapter, list[_Entry]] = {}
        for entry in entries:
            by_adapter.setdefault(entry.adapter, []).append(entry)
        experts = {adapter: chosen[0].expert for adapter, chosen in by_adapter.items()}
        if self.uses_kernel:
            return self._by_kernel(layer, by_adapter, experts)
        most_rows = max(map(len, by_adapter.values()))
        # Masked rows still meet every expert's B: 0 · NaN would reach them.
        is_safe = all(adapter.is_finite for adapter in by_adapter)
        if is_safe and stacking_costs_less(list(experts.values()), rows, most_rows):
            return self._stacked(layer, by_adapter, experts, rows)
        return self._batched(layer, by_adapter, experts, most_rows)

    def _stacked(
        self,
        layer: int,
        by_adapter: dict[ResidentAdapter, list[_Entry]],
        experts: dict[ResidentAdapter, Expert],
        rows: int,
    ) -> StackedProduct:
        slot = next(iter(experts.values())).slot
        down_RI, up_RO = self._stack(
            layer, ("stacked", slot, *experts), lambda: _stacked_weights(list(experts.values()))
        )
        gates_BR = torch.zeros(rows, down_RI.shape[0])
        others_BR = torch.ones(rows, down_RI.shape[0], dtype=torch.bool)
        start = 0
        for adapter, chosen in by_adapter.items():
            stop = start + experts[adapter].down.shape[0]
            for entry in chosen:
                gates_BR[entry.row, start:stop] = entry.gate
                others_BR[entry.row, start:stop] = False
            start = stop
        others = others_BR.unsqueeze(1).to(self.sites.device) if bool(others_BR.any()) else None
        return StackedProduct(
            down_RI, up_RO, slot.start, slot.stop, gates_BR.unsqueeze(1).to(self.sites.device), others
        )

    def _batched(
        self,
        layer: int,
        by_adapter: dict[ResidentAdapter, list[_Entry]],
        experts: dict[ResidentAdapter, Expert],
        most_rows: int,
    ) -> BatchedProduct:
        slot = next(iter(experts.values())).slot
        down_AIR, up_ARO = self._stack(
            layer, ("batched", slot, *experts), lambda: _batched_weights(list(experts.values()))
        )
        rows: list[int] = []
        gates: list[float] = []
        real: list[int] = []
        for chosen in by_adapter.values():
            real += range(len(rows), len(rows) + len(chosen))
            padded = [*chosen, *[chosen[0]] * (most_rows - len(chosen))]
            rows += [entry.row for entry in padded]
            gates += [entry.gate for entry in padded]
        places = torch.tensor(rows, device=self.sites.device)
        real_places = torch.tensor(real, device=self.sites.device)
        return BatchedProduct(
            rows=places,
            down=down_AIR,
            up=up_ARO,
            start=slot.start,
            stop=slot.stop,
            gates=torch.tensor(gates, device=self.sites.device).view(len(by_adapter), most_rows, 1),
            targets=places[real_places],
            real=None if len(real) == len(rows) else real_places,
        )

    def _by_kernel(
        self,
        layer: int,
        by_adapter: dict[ResidentAdapter, list[_Entry]],
        experts: dict[ResidentAdapter, Expert],
    ) -> Product:
        from milora.engine.fused.kernel import KernelProduct

        slot = next(iter(experts.values())).slot
        down_AIR, up_ARO = self._stack(
            layer, ("batched", slot, *experts), lambda: _batched_weights(list(experts.values()))
        )
        pairs = [(index, entry) for index, chosen in enumerate(by_adapter.values()) for entry in chosen]
        device = self.sites.device
        return KernelProduct(
            rows=torch.tensor([entry.row for _, entry in pairs], device=device),
            adapters=torch.tensor([index for index, _ in pairs], device=device),
            gates=torch.tensor([entry.gate for _, entry in pairs], device=device),
            down=down_AIR.transpose(1, 2),
            up=up_ARO,
            start=slot.start,
        )

    def _stack(
        self, layer: int, key: tuple[object, ...], make: Callable[[], tuple[Tensor, Tensor]]
    ) -> tuple[Tensor, Tensor]:
        stacks = self._stacks.setdefault(layer, {})
        if key not in stacks:
            stacks[key] = self._earlier.get(key) or make()
        return stacks[key]


def stacking_costs_less(experts: Sequence[Expert], rows: int, most_rows: int) -> bool:
    """Whether every row times every expert, masked, costs less than gathering each adapter's rows.

    Both read each expert once. Stacked, a row is multiplied with the experts of all adapters; batched, rows are
    gathered, padded to the adapter that has most, and added back.
    """
    width = experts[0].down.shape[1] + experts[0].up.shape[0]
    stacked = rows * sum(expert.down.shape[0] for expert in experts)
    batched = most_rows * len(experts) * max(expert.down.shape[0] for expert in experts)
    return (stacked - batched) * width <= _GATHER_COST


def _same(one: RowDecision, other: RowDecision | None) -> bool:
    if other is None or one.adapter is not other.adapter:
        return False
    return one.gates is other.gates or one.gates == other.gates


def _shared_update(active: list[tuple[Expert, float]]) -> Update:
    rescalings: list[Rescaling] = []
    for expert, gate in active:
        if expert.rescale is not None:
            gates_B11 = torch.full((1, 1, 1), gate, device=expert.down.device)
            rescalings.append(rescaling(expert.slot.start, gates_B11, expert.rescale, expert.bias))
    return Update(tuple(rescalings), (_shared_product(active),))


def _shared_product(active: list[tuple[Expert, float]]) -> SharedProduct:
    first, gate = active[0]
    if len(active) == 1:
        return SharedProduct(first.down.t(), first.up.t(), first.slot.start, first.slot.stop, gate)
    start = min(expert.slot.start for expert, _ in active)
    stop = max(expert.slot.stop for expert, _ in active)
    down_RI = torch.cat([expert.down for expert, _ in active])
    up_RO = down_RI.new_zeros(down_RI.shape[0], stop - start)
    row = 0
    for expert, gate in active:
        rank = expert.down.shape[0]
        up_RO[row : row + rank, expert.slot.start - start : expert.slot.stop - start] = expert.up.t() * gate
        row += rank
    return SharedProduct(down_RI.t(), up_RO, start, stop)


def _mixed_rescaling(entries: list[_Entry], rows: int, device: torch.device) -> Rescaling:
    slot = entries[0].expert.slot
    factor_B1O = torch.ones(rows, 1, slot.stop - slot.start, device=device)
    bias = next((entry.expert.bias for entry in entries if entry.expert.bias is not None), None)
    for entry in entries:
        if entry.expert.rescale is not None:
            factor_B1O[entry.row] += entry.gate * entry.expert.rescale
    return Rescaling(slot.start, slot.stop, factor_B1O, None if bias is None else (1 - factor_B1O) * bias)


def _stacked_weights(experts: Sequence[Expert]) -> tuple[Tensor, Tensor]:
    """A's and B's side by side in one rank dimension."""
    return torch.cat([expert.down for expert in experts]), torch.cat([expert.up.t() for expert in experts])


def _batched_weights(experts: Sequence[Expert]) -> tuple[Tensor, Tensor]:
    """A's and B's of one rank: smaller ones are filled up with zeros."""
    rank = max(expert.down.shape[0] for expert in experts)
    first = experts[0]
    down_ARI = first.down.new_zeros(len(experts), rank, first.down.shape[1])
    up_ARO = first.up.new_zeros(len(experts), rank, first.up.shape[0])
    for index, expert in enumerate(experts):
        down_ARI[index, : expert.down.shape[0]] = expert.down
        up_ARO[index, : expert.down.shape[0]] = expert.up.t()
    return down_ARI.transpose(1, 2), up_ARO
