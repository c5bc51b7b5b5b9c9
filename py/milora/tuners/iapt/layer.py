"""IAPT in an attention block, with a hook in front of its layer.

Shapes: B prompts, T tokens, D hidden size, N bottleneck, P soft tokens.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from milora.errors import MiloraError
from milora.routing.context import RoutingContext, install_context
from milora.routing.generation import wrap_generate
from milora.routing.hooks import find_cache, refuse_reentrant_checkpointing
from milora.routing.kept_rows import keep_rows
from milora.routing.pooler import normalizing_scale, router_precision
from milora.routing.rational import gelu_coefficients, rational
from milora.tuners.base import PrefixBlock, Site, active_adapters_of, layer_index_of, new_parameter


class SoftTokens(dict[str, Tensor]):
    """The soft tokens of the running forward pass, by adapter. A copy starts empty: they belong to that pass."""

    def __reduce__(self) -> tuple[type[SoftTokens], tuple[()]]:
        return (SoftTokens, ())


class KeptSoftTokens(dict[str, Tensor]):
    """The soft tokens of a KV cache's prompts, [B, P, D], by layer path; on the cache, as routing decisions are."""

    def select_rows(self, rows: Tensor) -> None:
        """Becomes the soft tokens of ``rows``, indices that may repeat, [new rows]."""
        for path, soft_BPD in self.items():
            self[path] = soft_BPD.index_select(0, rows.to(soft_BPD.device))


class IaptBlock(PrefixBlock):
    """Four soft tokens a layer, made once a prompt from the prompt's states (Zhu et al. 2024).

    H, the RMS-normalised states of the prompt's tokens that enter the layer; Z = H W_down; each query pools Z by
    self-attention, softmax(Z q) over the prompt's tokens; the soft tokens are g(pooled) W_up, g a learned rational.
    ``milora_iapt_down`` holds W_downᵀ, [N, D]; ``milora_iapt_queries`` [P, N]; ``milora_iapt_numerator`` and
    ``milora_iapt_denominator`` g's coefficients; ``milora_iapt_up`` W_up, [N, D], zero at the start.
    """

    adapter_layer_names = (
        "milora_iapt_down",
        "milora_iapt_queries",
        "milora_iapt_numerator",
        "milora_iapt_denominator",
        "milora_iapt_up",
    )

    milora_iapt_down: nn.ParameterDict
    milora_iapt_queries: nn.ParameterDict
    milora_iapt_numerator: nn.ParameterDict
    milora_iapt_denominator: nn.ParameterDict
    milora_iapt_up: nn.ParameterDict

    def __init__(self) -> None:
        super().__init__()
        self.made = SoftTokens()
        self.context: RoutingContext | None = None
        self.layer_path = ""

    def attach(self, model: nn.Module, layer: nn.Module, block: nn.Module, site: Site) -> None:
        """Also hooks into the layer, whose entering states the soft tokens are made from."""
        super().attach(model, layer, block, site)
        wrap_generate(model)
        self.context = install_context(model)
        self.layer_path = site.layer
        layer.register_forward_pre_hook(self.before_layer, with_kwargs=True)

    def add_parameters(self, adapter: str, config: Any, site: Site, like: Tensor) -> None:
        """W_down Kaiming-uniform, queries drawn and g as GeLU, as in MiLoRA's router."""
        down = torch.empty(config.bottleneck, site.in_features, device="cpu")
        nn.init.kaiming_uniform_(down, a=math.sqrt(5))
        numerator, denominator = gelu_coefficients()
        # Queries that are all zero would stay alike: each soft token must start with a view of its own.
        queries = torch.randn(config.tokens, config.bottleneck, device="cpu") / math.sqrt(config.bottleneck)
        up = torch.zeros(config.bottleneck, site.in_features, device="cpu")
        self.milora_iapt_down[adapter] = new_parameter(down, like)
        self.milora_iapt_queries[adapter] = new_parameter(queries, like)
        self.milora_iapt_numerator[adapter] = new_parameter(torch.tensor(numerator, device="cpu"), like)
        self.milora_iapt_denominator[adapter] = new_parameter(torch.tensor(denominator, device="cpu"), like)
        self.milora_iapt_up[adapter] = new_parameter(up, like)

    def soft_tokens(self, adapter: str) -> Tensor:
        """Those of each prompt, [B, tokens, D]."""
        return self.made[adapter]

    def before_layer(self, layer: nn.Module, args: Sequence[Tensor], kwargs: Mapping[str, Tensor]) -> None:
        """The decoder layer's pre-hook: makes the soft tokens, or takes those that the KV cache holds."""
        self.made.clear()
        adapters = active_adapters_of(self)
        if not adapters:
            return
        refuse_reentrant_checkpointing(layer)
        assert self.context is not None
        hidden_BTD = args[0] if args else kwargs["hidden_states"]
        cache = find_cache(args[1:], kwargs)
        # Where the layer is checkpointed, so is what is made before it: it would hold float32 copies of the states.
        recompute = layer.training and bool(getattr(layer, "gradient_checkpointing", False))
        for adapter in adapters:
            kept = _kept(cache, adapter)
            if cache is not None and self.context.is_filled(cache, layer_index_of(self.layer_path)):
                self.made[adapter] = self._continued(adapter, kept, hidden_BTD.shape[0])
                continue
            prompt_mask_BT = self.context.prompt_mask(hidden_BTD)
            if recompute and torch.is_grad_enabled():
                made = checkpoint(self.make, adapter, hidden_BTD, prompt_mask_BT, use_reentrant=False)
                assert isinstance(made, Tensor)
            else:
                made = self.make(adapter, hidden_BTD, prompt_mask_BT)
            self.made[adapter] = made
            if cache is not None:
                kept[self.layer_path] = made

    def make(self, adapter: str, hidden_BTD: Tensor, prompt_mask_BT: Tensor) -> Tensor:
        """Soft tokens from the states that enter the layer, [B, P, D], in the router's precision."""
        hidden_BTD = router_precision(hidden_BTD)
        dtype = hidden_BTD.dtype
        with torch.autocast(hidden_BTD.device.type, enabled=False):
            states_BTD = hidden_BTD * normalizing_scale(hidden_BTD).unsqueeze(-1)
            bottleneck_BTN = states_BTD @ self.milora_iapt_down[adapter].to(dtype).T
            scores_BTP = bottleneck_BTN @ self.milora_iapt_queries[adapter].to(dtype).T
            scores_BTP = scores_BTP.masked_fill(~prompt_mask_BT.unsqueeze(-1), float("-inf"))
            # A row without any prompt token has no maximum; it is padding, and what it attends to does not matter.
            weights_BTP = torch.softmax(scores_BTP, dim=1).nan_to_num(0.0)
            pooled_BPN = weights_BTP.transpose(1, 2) @ bottleneck_BTN
            numerator, denominator = self.milora_iapt_numerator[adapter], self.milora_iapt_denominator[adapter]
            activated_BPN = rational(pooled_BPN, numerator.to(dtype), denominator.to(dtype))
            return activated_BPN @ self.milora_iapt_up[adapter].to(dtype)

    def _continued(self, adapter: str, kept: dict[str, Tensor], rows: int) -> Tensor:
        soft = kept.get(self.layer_path)
        if soft is None:
            raise MiloraError(
                "adapter/unsupported",
                f"The KV cache holds tokens but no soft tokens of adapter {adapter!r}: it was filled without the "
                "adapter, or with its adapters disabled. Start from an empty cache, with the whole prompt.",
            )
        assert self.context is not None
        self.context.check_continues(adapter)
        if soft.shape[0] != rows:
            raise MiloraError(
                "adapter/unsupported",
                f"The KV cache holds soft tokens of {soft.shape[0]} rows, the forward pass has {rows}. Start from an "
                "empty cache, with the whole prompt.",
            )
        return soft


def _kept(cache: object | None, adapter: str) -> KeptSoftTokens:
    """The adapter's soft tokens on a KV cache; none, kept nowhere, without a cache."""
    return KeptSoftTokens() if cache is None else keep_rows(cache, KeptSoftTokens, adapter, KeptSoftTokens)
