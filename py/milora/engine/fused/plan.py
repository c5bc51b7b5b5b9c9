"""The decode plan of a batch: what its prompts decided, compiled once a batch composition; it runs no router.

A batch with one decision runs one shrink and one expand for each projection with an active expert; a mixed batch runs
each module for just the rows that chose it (:mod:`milora.engine.fused.mixed`).

Shapes: R rank, I in, O out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import torch

from milora.engine.fused.mixed import Entry, MixedUpdates
from milora.engine.fused.products import Expansion, Rescaling, SharedProduct, Update, rescaling
from milora.engine.fused.projections import LayerUpdates
from milora.engine.fused.prompt_routing import RowDecision
from milora.engine.fused.resident import Expert
from milora.engine.fused.sites import Sites
from milora.engine.fused.stacks import StackKeeper

Rows = Sequence[RowDecision | None]
"""The decisions of a batch's rows; None: the base model."""

Item = TypeVar("Item")

# What one more expansion of few rows costs, in numbers that are read; measured on a CPU.
_CALL_COST = 30_000


@dataclass
class PlanCompiler:
    """Compiles plans; the stacks of experts that the next composition needs again are kept.

    ``uses_kernel``: mixed batches run the Triton kernel.
    """

    sites: Sites
    uses_kernel: bool = False
    stacks: StackKeeper = field(default_factory=StackKeeper)

    def clear(self) -> None:
        """Forgets the stacks."""
        self.stacks.clear()

    @torch.inference_mode()
    def compile(self, rows: Rows) -> list[LayerUpdates] | None:
        """The updates of each layer for a batch; None where every row is the base model's."""
        if all(row is None for row in rows):
            self.clear()
            return None
        self.stacks.start()
        first = rows[0]
        shared = first is not None and all(_same(first, row) for row in rows)
        plan: list[LayerUpdates] = []
        mixed = MixedUpdates(self.sites, self.stacks, self.uses_kernel)
        for layer in range(len(self.sites.layers)):
            if shared and first is not None:
                plan.append(self._by_group(first.active(layer), lambda pair: pair[0], _shared_update))
            else:
                plan.append(self._mixed_layer(mixed, layer, rows))
            self.stacks.end_layer(layer)
        return plan

    def _mixed_layer(self, mixed: MixedUpdates, layer: int, rows: Rows) -> LayerUpdates:
        entries = [
            Entry(row, decision.adapter, expert, gate)
            for row, decision in enumerate(rows)
            if decision is not None
            for expert, gate in decision.active(layer)
        ]
        return self._by_group(entries, lambda entry: entry.expert, lambda group: mixed.update(layer, group, len(rows)))

    def _by_group(
        self, items: Sequence[Item], expert_of: Callable[[Item], Expert], make: Callable[[list[Item]], Update]
    ) -> LayerUpdates:
        groups: list[list[Item]] = [[] for _ in range(self.sites.num_groups)]
        for item in items:
            groups[expert_of(item).slot.group].append(item)
        return [make(group) if group else None for group in groups]


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
    down_IR = active[0][0].down if len(active) == 1 else torch.cat([expert.down for expert, _ in active], dim=1)
    apart: list[Expansion] = []
    rank = 0
    for expert, gate in active:
        ranks = slice(rank, rank + expert.down.shape[1])
        up_RO = expert.up if gate == 1 else expert.up * gate
        apart.append(Expansion(up_RO, ranks, slice(expert.slot.start, expert.slot.stop)))
        rank = ranks.stop
    columns = slice(min(one.columns.start for one in apart), max(one.columns.stop for one in apart))
    num_zeros = rank * (columns.stop - columns.start) - sum(one.up.numel() for one in apart)
    if len(apart) == 1 or num_zeros > _CALL_COST * (len(apart) - 1):
        return SharedProduct(down_IR, tuple(apart))
    joint_RO = down_IR.new_zeros(rank, columns.stop - columns.start)
    for one in apart:
        joint_RO[one.ranks, one.columns.start - columns.start : one.columns.stop - columns.start] = one.up
    return SharedProduct(down_IR, (Expansion(joint_RO, slice(0, rank), columns),))
