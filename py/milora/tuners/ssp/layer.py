"""SSP on a linear module: a LoRA module and a bias, each behind a gate during the search."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from milora.errors import MiloraError
from milora.tuners.base import LinearAdapter, Site, new_parameter
from milora.tuners.ssp.config import SspConfig


class ModuleGates(dict[str, Tensor]):
    """The gates of a module's candidates in the running forward pass, by adapter: [2], LoRA module and bias.

    A plain object and no submodule. A copy starts empty: it belongs to a call in progress.
    """

    def __reduce__(self) -> tuple[type[ModuleGates], tuple[()]]:
        return (ModuleGates, ())


class SspLinear(LinearAdapter):
    """y = base(x) + s (x A) B + b of what was kept; in the search base(x) + g_1 s (x A) B + g_2 b, s = alpha / rank.

    ``milora_ssp_down`` holds Aᵀ, [rank, in]; ``milora_ssp_up`` Bᵀ, [out, rank]; ``milora_ssp_bias`` b, [out]; and
    ``milora_ssp_structure`` the structural parameters α of both, [2], in a search alone: these are Θ.
    """

    adapter_layer_names = ("milora_ssp_down", "milora_ssp_up", "milora_ssp_bias", "milora_ssp_structure")
    validation_layer_names = ("milora_ssp_structure",)

    milora_ssp_down: nn.ParameterDict
    milora_ssp_up: nn.ParameterDict
    milora_ssp_bias: nn.ParameterDict
    milora_ssp_structure: nn.ParameterDict

    def __init__(self, base_layer: nn.Module) -> None:
        super().__init__(base_layer)
        self.gates = ModuleGates()

    def add_parameters(self, adapter: str, config: Any, site: Site, like: Tensor) -> None:
        """A Kaiming-uniform; B, bias and α zero, so that the search starts as the base and with equal candidates."""
        if site.settings["lora"]:
            down = nn.init.kaiming_uniform_(torch.empty(config.r, site.in_features, device="cpu"), a=math.sqrt(5))
            self.milora_ssp_down[adapter] = new_parameter(down, like)
            self.milora_ssp_up[adapter] = new_parameter(torch.zeros(site.out_features, config.r, device="cpu"), like)
        if site.settings["bias"]:
            self.milora_ssp_bias[adapter] = new_parameter(torch.zeros(site.out_features, device="cpu"), like)
        if config.budget is not None:
            self.milora_ssp_structure[adapter] = new_parameter(torch.zeros(2, device="cpu"), like)

    def adapt(self, adapter: str, x: Tensor, output: Tensor) -> Tensor:
        """Adds what the adapter has here; the bias, which is float32, first: so there is one rounding."""
        config, _ = self.adapter_sites[adapter]
        assert isinstance(config, SspConfig)
        lora_gate, bias_gate = self._gates(adapter)
        if adapter in self.milora_ssp_bias:
            output = output + bias_gate * self.milora_ssp_bias[adapter]
        if adapter in self.milora_ssp_down:
            down, up = (held[adapter].to(x.dtype) for held in (self.milora_ssp_down, self.milora_ssp_up))
            # A gate is a scalar tensor, which leaves the dtype of the product alone.
            scale = config.lora_alpha / config.r * lora_gate
            output = output + scale * functional.linear(functional.linear(x, down), up)
        return output

    def _gates(self, adapter: str) -> tuple[Tensor, Tensor] | tuple[float, float]:
        if adapter not in self.milora_ssp_structure:
            return 1.0, 1.0
        if adapter not in self.gates:
            raise MiloraError(
                "adapter/unsupported",
                f"A module of adapter {adapter!r} ran outside the decoder's forward pass, so its gates are not drawn. "
                "Call the causal language model.",
            )
        lora_gate, bias_gate = self.gates[adapter].to(self.milora_ssp_structure[adapter])
        return lora_gate, bias_gate
