"""An expert: a linear module with its LoRA module, scaled by the gate of its layer's router.

Shapes: B rows, T tokens, R rank.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from torch.nn import functional

from milora.errors import MiloraError
from milora.routing.decision import LayerDecision


class LayerDecisions(dict[str, LayerDecision]):
    """What the router of a layer decided for the running forward pass, by adapter; read by the layer's experts.

    A plain object and no submodule, so that it adds no keys. A copy starts empty: it belongs to a call in progress.
    """

    def __reduce__(self) -> tuple[type[LayerDecisions], tuple[()]]:
        return (LayerDecisions, ())


@dataclass(frozen=True)
class ExpertSettings:
    """One adapter's settings of one expert; ``index`` is its place among the router's outputs."""

    index: int
    rank: int
    alpha: float
    dropout: float


def trainable_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype of trainables over a base of ``dtype``: float32, or float64 over float64."""
    return torch.float64 if dtype == torch.float64 else torch.float32


class MiloraLinear(nn.Module, BaseTunerLayer):
    """y = base(x) + gate · (alpha / rank) · (x A) B, for each active adapter.

    ``milora_prompt_down`` holds Aᵀ, [rank, in]; ``milora_prompt_up`` holds Bᵀ, [out, rank]. Both are float32 masters,
    cast to the input's dtype at use.
    """

    adapter_layer_names = ("milora_prompt_down", "milora_prompt_up")
    other_param_names = ("milora_prompt_settings", "milora_prompt_dropout")

    def __init__(self, base_layer: nn.Module, decisions: LayerDecisions) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.decisions = decisions
        self.milora_prompt_down = nn.ParameterDict()
        self.milora_prompt_up = nn.ParameterDict()
        self.milora_prompt_dropout = nn.ModuleDict()
        self.milora_prompt_settings: dict[str, ExpertSettings] = {}
        self._disable_adapters = False
        self.merged_adapters: list[str] = []

    def update_layer(self, adapter_name: str, settings: ExpertSettings, inference_mode: bool) -> None:
        """Adds an adapter: A Kaiming-uniform, B zero, drawn on the CPU so that a seed means the same everywhere."""
        # Any linear module, of a quantisation backend too: only these attributes are needed.
        base: Any = self.get_base_layer()
        weight: Tensor = base.weight
        dtype = trainable_dtype(weight.dtype)
        down = torch.empty(settings.rank, int(base.in_features), dtype=dtype, device="cpu")
        nn.init.kaiming_uniform_(down, a=math.sqrt(5))
        up = torch.zeros(int(base.out_features), settings.rank, dtype=dtype, device="cpu")
        device = torch.device("cpu") if weight.device.type == "meta" else weight.device
        self.milora_prompt_settings[adapter_name] = settings
        self.milora_prompt_dropout[adapter_name] = (
            nn.Dropout(settings.dropout) if settings.dropout > 0 else nn.Identity()
        )
        self.milora_prompt_down[adapter_name] = nn.Parameter(down.to(device))
        self.milora_prompt_up[adapter_name] = nn.Parameter(up.to(device))
        self.set_adapter(self.active_adapters, inference_mode=inference_mode)

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The module's output for inputs [B, T, in] (or [B, in])."""
        result: Tensor = self.base_layer(x, *args, **kwargs)
        if self.disable_adapters:
            return result
        for adapter in self.active_adapters:
            settings = self.milora_prompt_settings.get(adapter)
            if settings is None:
                continue
            decision = self._decision(adapter, x)
            if decision.chosen is None or settings.index in decision.chosen:
                result = result + self._expert(adapter, settings, x, decision.gates).to(result.dtype)
        return result

    def _decision(self, adapter: str, x: Tensor) -> LayerDecision:
        decision = self.decisions.get(adapter)
        if decision is None or decision.gates.shape[0] != x.shape[0]:
            raise MiloraError(
                "adapter/unsupported",
                f"A module of adapter {adapter!r} ran with {x.shape[0]} rows, for which its layer's router made no "
                "decision; run the module as part of its decoder layer.",
            )
        return decision

    def _expert(self, adapter: str, settings: ExpertSettings, x: Tensor, gates: Tensor) -> Tensor:
        down = self.milora_prompt_down[adapter].to(x.dtype)
        up = self.milora_prompt_up[adapter].to(x.dtype)
        inner = functional.linear(self.milora_prompt_dropout[adapter](x), down)
        # The gate multiplies the rank-R inner product, the smallest tensor; in the router's precision, so that the
        # gate's gradient, a sum over tokens, is not taken in bf16.
        scale = gates[:, settings.index] * (settings.alpha / settings.rank)
        scaled = inner * scale.view(-1, *[1] * (x.dim() - 1))
        return functional.linear(scaled.to(x.dtype), up)

    def __repr__(self) -> str:
        return "milora." + super().__repr__()
