"""Copies of the active experts of a batch's adapters side by side, kept as long as the next composition needs them.

Shapes: A adapters, R rank, I in, O out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from milora.engine.fused.resident import Expert

Stack = tuple[Tensor, Tensor]
_Stacks = dict[tuple[object, ...], Stack]


@dataclass
class StackKeeper:
    """The stacks of one composition of a batch, by layer."""

    _kept: dict[int, _Stacks] = field(default_factory=dict)
    _earlier: dict[int, _Stacks] = field(default_factory=dict)

    def clear(self) -> None:
        """Forgets them."""
        self._kept, self._earlier = {}, {}

    def start(self) -> None:
        """Begins another composition; what it does not ask for again goes, layer by layer."""
        self._earlier, self._kept = self._kept, {}

    def end_layer(self, layer: int) -> None:
        """Lets a layer's old stacks go, so that old ones and new ones never all lie side by side."""
        self._earlier.pop(layer, None)

    def take(self, layer: int, key: tuple[object, ...], make: Callable[[], Stack]) -> Stack:
        """The stack of a layer by its key, made only if the composition before this one had none."""
        stacks = self._kept.setdefault(layer, {})
        if key not in stacks:
            stacks[key] = self._earlier.get(layer, {}).get(key) or make()
        return stacks[key]

    @property
    def keys(self) -> set[tuple[int, tuple[object, ...]]]:
        """Of all stacks, layer and key."""
        return {(layer, key) for layer, stacks in self._kept.items() for key in stacks}


def stacked_weights(experts: Sequence[Expert]) -> Stack:
    """A's and B's side by side in one rank dimension: [I, A R], [A R, O]."""
    return torch.cat([expert.down for expert in experts], dim=1), torch.cat([expert.up for expert in experts])


def batched_weights(experts: Sequence[Expert]) -> Stack:
    """A's and B's of one rank, smaller ones filled up with zeros: [A, I, R], [A, R, O]."""
    rank = max(expert.down.shape[1] for expert in experts)
    first = experts[0]
    down_AIR = first.down.new_zeros(len(experts), first.down.shape[0], rank)
    up_ARO = first.up.new_zeros(len(experts), rank, first.up.shape[1])
    for index, expert in enumerate(experts):
        down_AIR[index, :, : expert.down.shape[1]] = expert.down
        up_ARO[index, : expert.up.shape[0]] = expert.up
    return down_AIR, up_ARO
