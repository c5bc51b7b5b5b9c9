"""The router of a decoder layer: a child of the layer and a pre-hook on it; the layer itself is never wrapped.

Shapes: B prompts, T tokens, D hidden size, E experts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from milora.errors import MiloraError
from milora.models import ROUNDED
from milora.routing.activation import ActivationName, fixed_activation
from milora.routing.context import RoutingContext
from milora.routing.decision import LayerDecision, cached_decision, keep_decision
from milora.routing.fused_pool import normalized_attention_pool
from milora.routing.gates import Gate, expert_probabilities, top_k_gates
from milora.routing.hooks import find_cache, refuse_reentrant_checkpointing
from milora.routing.override import RouterPlace
from milora.routing.pooler import PoolerName, normalizing_scale, pool, router_precision
from milora.routing.rational import gelu_coefficients, rational
from milora.tuners.base import trainable_dtype
from milora.tuners.milora.layer import LayerDecisions

ROUTER_ATTRIBUTE = "prompt_router"
"""The router's name in the decoder layer; without the prefix, by which PEFT would skip it when deleting adapters."""


@dataclass(frozen=True)
class RouterSettings:
    """One adapter's settings of one router; ``fixed``: indices of the active experts where the policy is fixed."""

    hidden_size: int
    place: RouterPlace
    top_k: int
    pooler: PoolerName
    activation: ActivationName
    gate: Gate
    normalize: bool
    fixed: frozenset[int] | None = None


class MiloraRouter(nn.Module, BaseTunerLayer):
    """R(h) = Top-k(Softmax(g(h) W_r)) for each active adapter, once a prompt.

    ``milora_prompt_pool``: W_sa, [D], of the self-attention pooler; ``milora_prompt_numerator`` and
    ``milora_prompt_denominator``: the rational activation's a_0..a_6 and b_1..b_5; ``milora_prompt_projection``: W_rᵀ,
    [E, D]. An adapter with a fixed policy has none of them: its layer only hands the table's line to the experts.
    """

    adapter_layer_names = (
        "milora_prompt_pool",
        "milora_prompt_numerator",
        "milora_prompt_denominator",
        "milora_prompt_projection",
    )
    other_param_names = ("milora_prompt_settings",)
    router_layer_names = ("milora_prompt_pool", "milora_prompt_projection")
    validation_layer_names = ("milora_prompt_numerator", "milora_prompt_denominator")

    def __init__(self, context: RoutingContext, layer_index: int) -> None:
        super().__init__()
        self.context = context
        self.layer_index = layer_index
        self.decisions = LayerDecisions()
        self.milora_prompt_pool = nn.ParameterDict()
        self.milora_prompt_numerator = nn.ParameterDict()
        self.milora_prompt_denominator = nn.ParameterDict()
        self.milora_prompt_projection = nn.ParameterDict()
        self.milora_prompt_settings: dict[str, RouterSettings] = {}
        self._disable_adapters = False
        self.merged_adapters: list[str] = []

    @property
    def weight(self) -> Tensor:
        """A router wraps no module; without this, PEFT's property would look for a base layer for ever."""
        raise AttributeError("a router has no weight")

    @property
    def bias(self) -> Tensor:
        """As :attr:`weight`."""
        raise AttributeError("a router has no bias")

    def update_layer(self, adapter_name: str, settings: RouterSettings, like: Tensor, inference_mode: bool) -> None:
        """Adds an adapter's router, on the device of ``like``.

        W_sa starts at zero (the mean of the prompt's states), g as GeLU, W_r uniform in ±1/√D as in torch's linear
        layers.
        """
        self.milora_prompt_settings[adapter_name] = settings
        device = torch.device("cpu") if like.device.type == "meta" else like.device
        for name, value in _initial_values(settings, trainable_dtype(like.dtype)).items():
            getattr(self, name)[adapter_name] = nn.Parameter(value.to(device))
        self.set_adapter(self.active_adapters, inference_mode=inference_mode)

    def before_layer(self, layer: nn.Module, args: Sequence[Tensor], kwargs: Mapping[str, Tensor]) -> None:
        """The decoder layer's pre-hook: decides, or takes the decision that the KV cache holds."""
        self.decisions.clear()
        adapters = [name for name in self.active_adapters if name in self.milora_prompt_settings]
        if self.disable_adapters or not adapters:
            return
        hidden_BTD = args[0] if args else kwargs["hidden_states"]
        cache = find_cache(args[1:], kwargs)
        for adapter in adapters:
            if self.milora_prompt_settings[adapter].fixed is not None:
                self.decisions[adapter] = self._fixed(adapter, cache, hidden_BTD)
            else:
                refuse_reentrant_checkpointing(layer)
                # Where the layer is checkpointed, so is its router: it would hold a float32 copy of the states.
                recompute = layer.training and bool(getattr(layer, "gradient_checkpointing", False))
                self.decisions[adapter] = self._learned(adapter, cache, hidden_BTD, recompute)

    def probabilities(self, adapter: str, hidden_BTD: Tensor, prompt_mask_BT: Tensor) -> Tensor:
        """The softmax over the experts, [B, E], from the states that enter the layer."""
        settings = self.milora_prompt_settings[adapter]
        dtype = torch.float64 if hidden_BTD.dtype == torch.float64 else torch.float32

        def weight(container: nn.ParameterDict) -> Tensor:
            # A copy, for its alignment: a tensor that lies in a mapped file at an odd address gives other last bits in
            # a CPU's matrix product, so that an adapter's choice could depend on the way it was loaded.
            return container[adapter].to(device=hidden_BTD.device, dtype=dtype, copy=True)

        weight_D = weight(self.milora_prompt_pool) if settings.pooler == "self-attention" else None
        pooled_BD = _pooled(settings, hidden_BTD, prompt_mask_BT, weight_D)
        if settings.activation == "rational":
            activated_BD = rational(
                pooled_BD, weight(self.milora_prompt_numerator), weight(self.milora_prompt_denominator)
            )
        else:
            activated_BD = fixed_activation(settings.activation, pooled_BD)
        return expert_probabilities(activated_BD, weight(self.milora_prompt_projection))

    def _fixed(self, adapter: str, cache: object | None, hidden_BTD: Tensor) -> LayerDecision:
        """The line of the policy's table; it needs no prompt, and any cache will do."""
        settings = self.milora_prompt_settings[adapter]
        assert settings.fixed is not None
        if self.context.overriding is not None:
            raise MiloraError(
                "adapter/unsupported",
                f"Adapter {adapter!r} has a fixed policy: it has no router whose k, experts or decision could be "
                "overridden. Use it outside context.override().",
            )
        continues = cache is not None and self.context.is_recording and self.context.is_filled(cache, self.layer_index)
        if self.context.is_recording and not continues:
            row = [float(index in settings.fixed) for index in range(len(settings.place.experts))]
            gates_BE = torch.tensor(row, device=hidden_BTD.device).expand(hidden_BTD.shape[0], -1)
            self.context.note(adapter, self.layer_index, None, gates_BE)
        return LayerDecision(None, settings.fixed)

    def _learned(self, adapter: str, cache: object | None, hidden_BTD: Tensor, recompute: bool) -> LayerDecision:
        """The caller's decision, the KV cache's or a new one, in this order."""
        is_filled = cache is not None and self.context.is_filled(cache, self.layer_index)
        override = self.context.overriding
        if override is not None:
            place = self.milora_prompt_settings[adapter].place
            gates_BE = override.gates(place, hidden_BTD.shape[0], hidden_BTD.device)
            if gates_BE is not None:
                return self._given(adapter, cache, gates_BE, is_filled)
        if cache is not None and is_filled:
            return self._continue(adapter, cache, hidden_BTD.shape[0])
        return self._decide(adapter, cache, hidden_BTD, recompute)

    def _given(self, adapter: str, cache: object | None, gates_BE: Tensor, is_filled: bool) -> LayerDecision:
        """A decision that the caller kept; it replaces the one that the cache holds."""
        if not is_filled:
            self.context.note(adapter, self.layer_index, None, gates_BE)
        if cache is None:
            return LayerDecision(gates_BE)
        kept = keep_decision(cache, adapter)
        if kept.gates.get(self.layer_index) is gates_BE:
            return kept.layer(self.layer_index) if is_filled else LayerDecision(gates_BE)
        kept.put(self.layer_index, gates_BE)
        return LayerDecision(gates_BE)

    def _decide(self, adapter: str, cache: object | None, hidden_BTD: Tensor, recompute: bool) -> LayerDecision:
        settings = self.milora_prompt_settings[adapter]
        prompt_mask_BT = self.context.prompt_mask(hidden_BTD)
        device_type = hidden_BTD.device.type
        # Autocast would take the products in bf16; the router's arithmetic is float32.
        with torch.autocast(device_type=device_type, enabled=False):
            if recompute and torch.is_grad_enabled():
                probabilities_BE = checkpoint(
                    self.probabilities, adapter, hidden_BTD, prompt_mask_BT, use_reentrant=False
                )
                assert isinstance(probabilities_BE, Tensor)
            else:
                probabilities_BE = self.probabilities(adapter, hidden_BTD, prompt_mask_BT)
            override = self.context.overriding
            limits = override.limits(settings.place, settings.top_k, probabilities_BE) if override else None
            gates_BE = top_k_gates(probabilities_BE, settings.top_k, settings.gate, limits)
        self.context.note(adapter, self.layer_index, probabilities_BE, gates_BE)
        if cache is not None:
            keep_decision(cache, adapter).put(self.layer_index, gates_BE)
        # The straight-through gate has a gradient for every expert, chosen or not.
        return LayerDecision(gates_BE, zero_is_constant=settings.gate != "none")

    def _continue(self, adapter: str, cache: object, rows: int) -> LayerDecision:
        decision = cached_decision(cache, adapter)
        if decision is None or self.layer_index not in decision.gates:
            raise MiloraError(
                "adapter/unsupported",
                f"The KV cache holds tokens but no routing decision of adapter {adapter!r}: it was filled without the "
                "adapter, or with its adapters disabled. Start from an empty cache, with the whole prompt.",
            )
        self.context.check_continues(adapter)
        found = decision.gates[self.layer_index].shape[0]
        if found != rows:
            raise MiloraError(
                "adapter/unsupported",
                f"The KV cache holds the routing decision of {found} rows, the forward pass has {rows}. Start from an "
                "empty cache, with the whole prompt.",
            )
        return decision.layer(self.layer_index)


def _pooled(settings: RouterSettings, hidden_BTD: Tensor, prompt_mask_BT: Tensor, weight_D: Tensor | None) -> Tensor:
    """The prompts' states as one vector each, [B, D], in the router's precision."""
    if weight_D is not None and settings.normalize and hidden_BTD.dtype in ROUNDED:
        return normalized_attention_pool(hidden_BTD, prompt_mask_BT, weight_D)
    hidden_BTD = router_precision(hidden_BTD)
    scale_BT = normalizing_scale(hidden_BTD) if settings.normalize else None
    return pool(settings.pooler, hidden_BTD, prompt_mask_BT, weight_D, scale_BT)


def _initial_values(settings: RouterSettings, dtype: torch.dtype) -> dict[str, Tensor]:
    """A new router's parameters by container, on the CPU, so that a seed means the same everywhere."""
    if settings.fixed is not None:
        return {}
    bound = 1 / math.sqrt(settings.hidden_size)
    projection = torch.empty(len(settings.place.experts), settings.hidden_size, dtype=dtype, device="cpu")
    nn.init.uniform_(projection, -bound, bound)
    values = {"milora_prompt_projection": projection}
    if settings.pooler == "self-attention":
        values["milora_prompt_pool"] = torch.zeros(settings.hidden_size, dtype=dtype, device="cpu")
    if settings.activation == "rational":
        numerator, denominator = gelu_coefficients()
        values["milora_prompt_numerator"] = torch.tensor(numerator, dtype=dtype, device="cpu")
        values["milora_prompt_denominator"] = torch.tensor(denominator, dtype=dtype, device="cpu")
    return values
