"""Learned-Adapter at a block: the mixture of a search, or the one architecture that was found."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from milora.routing.rational import gelu_coefficients, rational
from milora.tuners.base import BlockAdapter, Site, new_parameter
from milora.tuners.learned_adapter.config import ACTIVATIONS, ARCHITECTURES, PLACEMENTS, SKIP

_FIXED: Mapping[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda x: x,
    "relu": functional.relu,
    "gelu": functional.gelu,
    "silu": functional.silu,
    "tanh": torch.tanh,
}


class LearnedAdapterBlock(BlockAdapter):
    """h = F(x) + Σ_c w_c · W_up act_c(W_down in_c) (after Zhang et al. 2023).

    in_c is the block's output F(x) for a sequential candidate, its input x for a parallel one; skip adds nothing. In a
    search w = softmax(α) over the candidates that are left; a found architecture has weight 1, and its place nothing
    of the others. The candidates of a place share W_down and W_up, so that a search costs two bottlenecks.

    ``milora_learned_adapter_down`` holds W_down, [bottleneck, D]; ``milora_learned_adapter_up`` W_up, [D, bottleneck],
    zero at the start; ``milora_learned_adapter_numerator`` and ``…_denominator`` a rational's coefficients;
    ``milora_learned_adapter_choice`` α, one an architecture, trained on D_val.
    """

    adapter_layer_names = (
        "milora_learned_adapter_down",
        "milora_learned_adapter_up",
        "milora_learned_adapter_numerator",
        "milora_learned_adapter_denominator",
        "milora_learned_adapter_choice",
    )
    validation_layer_names = ("milora_learned_adapter_choice",)
    other_param_names = ("adapter_sites", "left")

    milora_learned_adapter_down: nn.ParameterDict
    milora_learned_adapter_up: nn.ParameterDict
    milora_learned_adapter_numerator: nn.ParameterDict
    milora_learned_adapter_denominator: nn.ParameterDict
    milora_learned_adapter_choice: nn.ParameterDict

    def __init__(self) -> None:
        super().__init__()
        # The candidates of a search that are left, by index into ARCHITECTURES.
        self.left: dict[str, list[int]] = {}

    def add_parameters(self, adapter: str, config: Any, site: Site, like: Tensor) -> None:
        """W_down Kaiming-uniform, as LoRA's A; α zero, so that all candidates start alike."""
        architecture = site.settings["architecture"]
        down = torch.empty(config.bottleneck, site.in_features, device="cpu")
        nn.init.kaiming_uniform_(down, a=math.sqrt(5))
        self.milora_learned_adapter_down[adapter] = new_parameter(down, like)
        up = torch.zeros(site.out_features, config.bottleneck, device="cpu")
        self.milora_learned_adapter_up[adapter] = new_parameter(up, like)
        if architecture is None or architecture.endswith("-rational"):
            numerator, denominator = gelu_coefficients()
            self.milora_learned_adapter_numerator[adapter] = new_parameter(torch.tensor(numerator), like)
            self.milora_learned_adapter_denominator[adapter] = new_parameter(torch.tensor(denominator), like)
        if architecture is None:
            choice = torch.zeros(len(ARCHITECTURES), device="cpu")
            self.milora_learned_adapter_choice[adapter] = new_parameter(choice, like)
            self.left[adapter] = list(range(len(ARCHITECTURES)))

    def adapt(self, adapter: str, x: Tensor, output: Tensor) -> Tensor:
        """Adds the bottleneck's output, or the search's mixture of them."""
        architecture = self.adapter_sites[adapter][1].settings["architecture"]
        if architecture is not None:
            placement, activation = architecture.split("-")
            inner = self._inner(adapter, x if placement == "parallel" else output)
            return output + self._outer(adapter, self._activated(adapter, activation, inner), x.dtype)
        weights = self.weights(adapter)
        mixed: Tensor | None = None
        for placement in PLACEMENTS:
            wanted = {act: weights[name] for act in ACTIVATIONS if (name := f"{placement}-{act}") in weights}
            if not wanted:
                continue
            inner = self._inner(adapter, x if placement == "parallel" else output)
            for activation, weight in wanted.items():
                candidate = weight * self._activated(adapter, activation, inner)
                mixed = candidate if mixed is None else mixed + candidate
        return output if mixed is None else output + self._outer(adapter, mixed, x.dtype)

    def weights(self, adapter: str) -> dict[str, Tensor]:
        """The weight of each candidate of a search that is left; they add up to 1."""
        left = self.left[adapter]
        softmax = torch.softmax(self.milora_learned_adapter_choice[adapter][left], dim=0)
        return {ARCHITECTURES[index]: softmax[place] for place, index in enumerate(left)}

    def drop_weakest(self, adapter: str) -> int:
        """Drops the candidate of the smallest weight (of several the last one); gives how many are left."""
        left = self.left[adapter]
        if len(left) > 1:
            choice = self.milora_learned_adapter_choice[adapter].detach().tolist()
            left.remove(min(left, key=lambda index: (choice[index], -index)))
        return len(left)

    def best(self, adapter: str, *, may_skip: bool = True) -> str:
        """The candidate of the largest weight, of several the first; ``may_skip`` False: of those but skip."""
        choice = self.milora_learned_adapter_choice[adapter].detach().tolist()
        names = [ARCHITECTURES[index] for index in self.left[adapter]]
        if not may_skip:
            names.remove(SKIP)
        return max(names, key=lambda name: choice[ARCHITECTURES.index(name)])

    def _inner(self, adapter: str, states: Tensor) -> Tensor:
        return functional.linear(states, self.milora_learned_adapter_down[adapter].to(states.dtype))

    def _activated(self, adapter: str, activation: str, inner: Tensor) -> Tensor:
        if activation != "rational":
            return _FIXED[activation](inner)
        numerator = self.milora_learned_adapter_numerator[adapter]
        # x⁶ needs the range of float32.
        return rational(inner.to(numerator.dtype), numerator, self.milora_learned_adapter_denominator[adapter])

    def _outer(self, adapter: str, activated: Tensor, dtype: torch.dtype) -> Tensor:
        return functional.linear(activated.to(dtype), self.milora_learned_adapter_up[adapter].to(dtype))
