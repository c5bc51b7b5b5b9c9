"""A prefill's adapters: routers decide layer by layer, and all experts run, multiplied by their gates.

Nothing is read from the device meanwhile; afterwards the whole decision is, at once.

Shapes: B prompts, T tokens, N = B T, D hidden size, E experts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from milora.engine.fused.products import StackedProduct, Update, rescaling
from milora.engine.fused.projections import LayerUpdates
from milora.engine.fused.resident import ROUTER_KEY, Expert, ResidentAdapter, ResidentLayer
from milora.routing.decision import stack_experts
from milora.routing.gates import top_k_gates
from milora.routing.override import RoutingOverride
from milora.tuners.milora import MiloraRouter


@dataclass(frozen=True, eq=False)
class RowDecision:
    """A prompt's adapter and gates: by decoder layer the gates of its experts, None where nothing is adapted."""

    adapter: ResidentAdapter
    gates: tuple[tuple[float, ...] | None, ...]

    def active(self, layer: int) -> list[tuple[Expert, float]]:
        """A layer's active experts with their gates."""
        found, gates = self.adapter.layers[layer], self.gates[layer]
        if found is None or gates is None:
            return []
        return [(expert, gates[expert.index]) for expert in found.experts if gates[expert.index] != 0]


class PromptRouting:
    """The routing of prompts that have one adapter."""

    def __init__(self, adapter: ResidentAdapter, lengths: Sequence[int], override: RoutingOverride | None) -> None:
        self._adapter = adapter
        self._lengths = lengths
        self._override = override
        self._gates: dict[int, Tensor] = {}
        self._mask_BT: Tensor | None = None

    def updates(self, index: int, hidden_ND: Tensor) -> LayerUpdates:
        """A layer's updates, decided from the states that enter it."""
        layer = self._adapter.layers[index]
        if layer is None:
            return [None] * self._adapter.num_groups
        gates_BE = self._decide(layer, hidden_ND)
        self._gates[index] = gates_BE
        updates: list[Update | None] = []
        for group in range(self._adapter.num_groups):
            experts = [expert for expert in layer.experts if expert.slot.group == group]
            if layer.router is None:
                experts = [expert for expert in experts if layer.fixed[expert.index]]
            updates.append(_update(experts, gates_BE) if experts else None)
        return updates

    def decisions(self) -> list[RowDecision]:
        """Each prompt's decision; the one read from the device."""
        layers = sorted(self._gates)
        read = stack_experts([self._gates[layer] for layer in layers]).tolist()
        counts = {layer: self._gates[layer].shape[1] for layer in layers}
        places = {layer: place for place, layer in enumerate(layers)}
        return [
            RowDecision(
                self._adapter,
                tuple(
                    tuple(row[places[layer]][: counts[layer]]) if layer in places else None
                    for layer in range(len(self._adapter.layers))
                ),
            )
            for row in read
        ]

    def _decide(self, layer: ResidentLayer, hidden_ND: Tensor) -> Tensor:
        rows = len(self._lengths)
        if layer.router is None:
            row = torch.tensor([float(chosen) for chosen in layer.fixed], device=hidden_ND.device)
            return row.expand(rows, -1)
        return self._routed(layer.router, hidden_ND.view(rows, -1, hidden_ND.shape[1]))

    def _routed(self, router: MiloraRouter, hidden_BTD: Tensor) -> Tensor:
        settings = router.milora_prompt_settings[ROUTER_KEY]
        override = self._override
        if override is not None:
            given = override.gates(settings.place, hidden_BTD.shape[0], hidden_BTD.device)
            if given is not None:
                return given
        probabilities_BE = router.probabilities(ROUTER_KEY, hidden_BTD, self._mask(hidden_BTD))
        limits = None if override is None else override.limits(settings.place, settings.top_k, probabilities_BE)
        return top_k_gates(probabilities_BE, settings.top_k, settings.gate, limits)

    def _mask(self, hidden_BTD: Tensor) -> Tensor:
        if self._mask_BT is None:
            places = torch.arange(hidden_BTD.shape[1], device=hidden_BTD.device)
            self._mask_BT = places < torch.tensor(self._lengths, device=hidden_BTD.device).unsqueeze(1)
        return self._mask_BT


def _update(experts: Sequence[Expert], gates_BE: Tensor) -> Update:
    rescalings, products = [], []
    for expert in experts:
        gates_B11 = gates_BE[:, expert.index].view(-1, 1, 1)
        slot = expert.slot
        if expert.rescale is not None:
            rescalings.append(rescaling(slot.start, gates_B11, expert.rescale, expert.bias))
        products.append(StackedProduct(expert.down, expert.up, slot.start, slot.stop, gates_B11))
    return Update(tuple(rescalings), tuple(products))
