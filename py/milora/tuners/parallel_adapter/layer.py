"""Parallel-Adapter beside a block."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from milora.tuners.base import BlockAdapter, Site, new_parameter


class ParallelAdapterBlock(BlockAdapter):
    """h = F(x) + s · W_up ReLU(W_down x) (He et al. 2021).

    ``milora_parallel_adapter_down`` holds W_down, [bottleneck, D]; ``milora_parallel_adapter_up`` W_up, [D,
    bottleneck], zero at the start. There are no biases.
    """

    adapter_layer_names = ("milora_parallel_adapter_down", "milora_parallel_adapter_up")

    milora_parallel_adapter_down: nn.ParameterDict
    milora_parallel_adapter_up: nn.ParameterDict

    def add_parameters(self, adapter: str, config: Any, site: Site, like: Tensor) -> None:
        """W_down Kaiming-uniform, as LoRA's A."""
        down = torch.empty(config.bottleneck, site.in_features, device="cpu")
        nn.init.kaiming_uniform_(down, a=math.sqrt(5))
        up = torch.zeros(site.out_features, config.bottleneck, device="cpu")
        self.milora_parallel_adapter_down[adapter] = new_parameter(down, like)
        self.milora_parallel_adapter_up[adapter] = new_parameter(up, like)

    def adapt(self, adapter: str, x: Tensor, output: Tensor) -> Tensor:
        """Adds the bottleneck's output, computed from the block's input."""
        config: Any = self.adapter_sites[adapter][0]
        inner = functional.relu(functional.linear(x, self.milora_parallel_adapter_down[adapter].to(x.dtype)))
        added = functional.linear(inner * config.scale, self.milora_parallel_adapter_up[adapter].to(x.dtype))
        return output + added
