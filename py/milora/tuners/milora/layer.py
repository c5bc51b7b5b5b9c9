"""An expert: a linear module with its LoRA or DoRA module, scaled by the gate of its layer's router.

Shapes: B rows, T tokens, R rank.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from torch.nn import functional

from milora.errors import MiloraError
from milora.routing.decision import LayerDecision
from milora.tuners.base import trainable_dtype
from milora.tuners.milora.accumulate import wide_output
from milora.tuners.milora.config import Accumulate, ExpertKind
from milora.tuners.milora.weight_norm import WeightNorms, base_weight, row_norms

_ALIGNMENT = 64
"""Bytes; torch's own allocations on the CPU start at multiples of it."""


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
    kind: ExpertKind = "lora"
    accumulate: Accumulate = "base"

    @property
    def scale(self) -> float:
        """s = alpha / rank."""
        return self.alpha / self.rank


@dataclass(frozen=True)
class Use:
    """An expert that the running forward pass needs; ``gate``: [rows], None: 1 for every row."""

    adapter: str
    settings: ExpertSettings
    gate: Tensor | None


def _aligned(parameter: nn.Parameter) -> nn.Parameter:
    """A frozen parameter on the CPU, moved once to an even address where it lies in a mapped file at an odd one.

    There a matrix product gives other last bits, so that outputs would depend on the way an adapter was loaded.
    """
    if parameter.requires_grad or parameter.device.type != "cpu" or torch.compiler.is_compiling():
        return parameter
    if parameter.data_ptr() % _ALIGNMENT:
        parameter.data = parameter.data.clone()
    return parameter


class MiloraLinear(nn.Module, BaseTunerLayer):
    """The expert of each active adapter on a linear module, y = base(x) + Σ gate · (expert(x) - base(x)).

    LoRA: expert(x) = base(x) + s (x A) B. DoRA: expert(x) = m / n ⊙ (x W + s (x A) B) + bias with n = ‖W + s (A B)‖ of
    each output, taken as a constant in the backward pass, so that y = base(x) + gate · ((m / n - 1) ⊙ x W + m / n ⊙ s
    (x A) B); dropout acts on the input of A alone. In both s = alpha / rank, and with gate 0 y is exactly base(x).

    ``milora_prompt_down`` holds Aᵀ, [rank, in]; ``milora_prompt_up`` holds Bᵀ, [out, rank];
    ``milora_prompt_magnitude`` holds m, [out], of DoRA experts. All are float32 masters, A and B cast to the input's
    dtype at use.
    """

    adapter_layer_names = ("milora_prompt_down", "milora_prompt_up", "milora_prompt_magnitude")
    other_param_names = ("milora_prompt_settings", "milora_prompt_dropout")

    def __init__(self, base_layer: nn.Module, decisions: LayerDecisions) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.decisions = decisions
        self.weight_norms = WeightNorms()
        self.milora_prompt_down = nn.ParameterDict()
        self.milora_prompt_up = nn.ParameterDict()
        self.milora_prompt_magnitude = nn.ParameterDict()
        self.milora_prompt_dropout = nn.ModuleDict()
        self.milora_prompt_settings: dict[str, ExpertSettings] = {}
        self._disable_adapters = False
        self.merged_adapters: list[str] = []

    def update_layer(self, adapter_name: str, settings: ExpertSettings, inference_mode: bool) -> None:
        """Adds an adapter: A Kaiming-uniform, B zero, drawn on the CPU so that a seed means the same everywhere.

        DoRA's m starts as the norms of the base's rows, so that the expert starts as the base.
        """
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
        if settings.kind == "dora":
            # Without the base's values they are loaded later, with the rest of the adapter.
            known = weight.device.type != "meta"
            magnitude = row_norms(base_weight(base)) if known else torch.ones(int(base.out_features), device="cpu")
            self.milora_prompt_magnitude[adapter_name] = nn.Parameter(magnitude.to(device=device, dtype=dtype))
        self.set_adapter(self.active_adapters, inference_mode=inference_mode)

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The module's output for inputs [B, T, in] (or [B, in])."""
        uses = [] if self.disable_adapters else self.uses(x)
        if any(use.settings.accumulate == "float32" for use in uses) and not (args or kwargs):
            return self._accumulated(x, uses)
        base: Tensor = self.base_layer(x, *args, **kwargs)
        result = base
        for use in uses:
            result = result + self._expert(use, x, base).to(result.dtype)
        return result

    def _accumulated(self, x: Tensor, uses: list[Use]) -> Tensor:
        """The output with the sum in float32; see :mod:`milora.tuners.milora.accumulate`."""
        wide = wide_output(self.base_layer, x)
        base: Tensor = self.base_layer(x) if wide is None else wide
        dtype = base.dtype if wide is None else x.dtype
        result = base = base.to(trainable_dtype(base.dtype))
        for use in uses:
            result = result + self._expert(use, x, base, wide=True)
        return result.to(dtype)

    def uses(self, x: Tensor) -> list[Use]:
        """The experts that this module needs, in the order of the active adapters."""
        uses: list[Use] = []
        for adapter in self.active_adapters:
            settings = self.milora_prompt_settings.get(adapter)
            if settings is None:
                continue
            decision = self._decision(adapter, x)
            if decision.chosen is None or settings.index in decision.chosen:
                gate = None if decision.gates is None else decision.gates[:, settings.index]
                uses.append(Use(adapter, settings, gate))
        return uses

    def _decision(self, adapter: str, x: Tensor) -> LayerDecision:
        decision = self.decisions.get(adapter)
        if decision is None or (decision.gates is not None and decision.gates.shape[0] != x.shape[0]):
            raise MiloraError(
                "adapter/unsupported",
                f"A module of adapter {adapter!r} ran with {x.shape[0]} rows, for which its layer's router made no "
                "decision; run the module as part of its decoder layer.",
            )
        return decision

    def _expert(self, use: Use, x: Tensor, base: Tensor, wide: bool = False) -> Tensor:
        """gate · (expert(x) - base(x)), of the base output's shape; ``wide``: the last product in float32."""
        settings = use.settings
        down = _aligned(self.milora_prompt_down[use.adapter])
        up = _aligned(self.milora_prompt_up[use.adapter])
        inner = functional.linear(self.milora_prompt_dropout[use.adapter](x), down.to(x.dtype))
        # The gate multiplies the rank-R inner product, the smallest tensor; in the router's precision, so that the
        # gate's gradient, a sum over tokens, is not taken in bf16.
        gate = None if use.gate is None else use.gate.view(-1, *[1] * (x.dim() - 1))
        scaled = inner * settings.scale if gate is None else inner * (gate * settings.scale)
        dtype = base.dtype if wide else x.dtype
        with torch.autocast(x.device.type, enabled=False) if wide else contextlib.nullcontext():
            output = functional.linear(scaled.to(dtype), up.to(dtype))
        if settings.kind == "lora":
            return output
        factor = self._magnitude_factor(use.adapter, settings)
        # In factor's dtype, float32: m / n - 1 is small, and nothing of it is left in bf16.
        rescaled = (factor - 1) * self._without_bias(base)
        return factor * output + (rescaled if gate is None else gate * rescaled)

    def _magnitude_factor(self, adapter: str, settings: ExpertSettings) -> Tensor:
        """m / n of each output, [out]."""
        down, up = self.milora_prompt_down[adapter], self.milora_prompt_up[adapter]
        norms = self.weight_norms.norms(adapter, self.get_base_layer(), down, up, settings.scale)
        return self.milora_prompt_magnitude[adapter] / norms

    def _without_bias(self, output: Tensor) -> Tensor:
        bias = getattr(self.get_base_layer(), "bias", None)
        return output if bias is None else output - bias.to(output.dtype)

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        self.weight_norms.clear()
        return super()._apply(fn, recurse)

    def train(self, mode: bool = True) -> MiloraLinear:
        """As torch's; training forgets the weight norms kept for inference."""
        if mode:
            self.weight_norms.clear()
        super().train(mode)
        return self

    def delete_adapter(self, adapter_name: str) -> None:
        """As PEFT's; the weight norms go too."""
        self.weight_norms.clear()
        super().delete_adapter(adapter_name)

    def __repr__(self) -> str:
        return "milora." + super().__repr__()
