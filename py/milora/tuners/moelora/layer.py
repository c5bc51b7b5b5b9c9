"""MOELoRA on a linear module.

Shapes: B rows, T tokens, N = B · T, R rank of all experts together, E experts.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from milora.routing.context import RoutingContext
from milora.routing.gates import expert_probabilities, top_k_gates
from milora.routing.hooks import reentrant_checkpointing_refused
from milora.routing.pooler import router_precision
from milora.tuners.base import LinearAdapter, Site, new_parameter


class MoeloraLinear(LinearAdapter):
    """y = base(x) + s ((x A) ⊙ g) B, g the gates of a token's kept experts, each repeated over its ranks.

    (Liu et al. 2023, as arXiv 2410.18035 compares with it.) p = softmax(x W_R); the gates are p renormalised over the
    k kept experts, times k. ``milora_moelora_down`` holds Aᵀ, [R, in]; ``milora_moelora_up`` Bᵀ, [out, R];
    ``milora_moelora_router`` W_Rᵀ, [E, in].
    """

    adapter_layer_names = ("milora_moelora_down", "milora_moelora_up", "milora_moelora_router")
    router_layer_names = ("milora_moelora_router",)
    other_param_names = ("adapter_sites", "site_indices")

    milora_moelora_down: nn.ParameterDict
    milora_moelora_up: nn.ParameterDict
    milora_moelora_router: nn.ParameterDict

    def __init__(self, base_layer: nn.Module, context: RoutingContext) -> None:
        super().__init__(base_layer)
        self.context = context
        self.site_indices: dict[str, int] = {}

    def add_parameters(self, adapter: str, config: Any, site: Site, like: Tensor) -> None:
        """A Kaiming-uniform, B zero, W_R uniform in ±1/√in as in torch's linear layers."""
        down = torch.empty(config.r, site.in_features, device="cpu")
        nn.init.kaiming_uniform_(down, a=math.sqrt(5))
        router = torch.empty(config.experts, site.in_features, device="cpu")
        nn.init.uniform_(router, -1 / math.sqrt(site.in_features), 1 / math.sqrt(site.in_features))
        self.site_indices[adapter] = list(config.sites).index(site.path)
        self.milora_moelora_down[adapter] = new_parameter(down, like)
        self.milora_moelora_up[adapter] = new_parameter(torch.zeros(site.out_features, config.r, device="cpu"), like)
        self.milora_moelora_router[adapter] = new_parameter(router, like)

    def adapt(self, adapter: str, x: Tensor, output: Tensor) -> Tensor:
        """Adds the mixture's output."""
        config: Any = self.adapter_sites[adapter][0]
        gates = self._gates(adapter, config, x)
        dropped = functional.dropout(x, config.lora_dropout, self.training)
        inner = functional.linear(dropped, self.milora_moelora_down[adapter].to(x.dtype))
        by_rank = gates.repeat_interleave(config.r // config.experts, dim=-1)
        scaled = (inner * by_rank * (config.lora_alpha / config.r)).to(x.dtype)
        return output + functional.linear(scaled, self.milora_moelora_up[adapter].to(x.dtype))

    def _gates(self, adapter: str, config: Any, x: Tensor) -> Tensor:
        """The gates of every token, [..., E], in float32 (float64 over float64)."""
        x = router_precision(x)
        # Autocast would take the product in bf16.
        with torch.autocast(x.device.type, enabled=False):
            probabilities = expert_probabilities(x, self.milora_moelora_router[adapter].to(x.dtype))
            gates = top_k_gates(probabilities, config.top_k, "scaled")
        if self.context.is_recording and self.context.is_marked:
            self._note(adapter, x, probabilities, gates)
        return gates

    def _note(self, adapter: str, x: Tensor, probabilities: Tensor, gates: Tensor) -> None:
        """Tells the open record of every token, [N, E]; padding counts as nothing there."""
        if self.training and not torch.is_grad_enabled():
            # The recomputed layer tells nothing new, so the balance loss would have no gradient.
            raise reentrant_checkpointing_refused()
        real = self.context.prompt_mask(x).flatten()
        rows, row_gates = probabilities.flatten(0, -2), gates.flatten(0, -2)
        self.context.note(adapter, self.site_indices[adapter], rows, row_gates, real)
