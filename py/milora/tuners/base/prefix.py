"""Prefix methods: soft tokens that every token of a layer attends to, joined inside the attention function.

Soft tokens stand behind the layer's norm, in front of the attention's own projections to keys and values; they have no
rotary position. The KV cache is never touched: transformers' public AttentionInterface gives the place.

Shapes: B rows, P soft tokens, D hidden size, H key/value heads, K head size, T tokens.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from milora.errors import MiloraError
from milora.tuners.base.config import PlannedConfig, Site
from milora.tuners.base.layer import BLOCK_ATTRIBUTE, BlockAdapter, active_adapters_of
from milora.tuners.base.model import BlockTuner

_NAME = "milora_prefix_"


class PrefixBlock(BlockAdapter):
    """A child of an attention block that gives it soft tokens."""

    def soft_tokens(self, adapter: str) -> Tensor:
        """The adapter's soft tokens in the running forward pass, [1 or B, P, D], in the dtype of trainables."""
        raise NotImplementedError

    def attach(self, model: nn.Module, layer: nn.Module, block: nn.Module, site: Site) -> None:
        """Makes the model's attention function look for soft tokens, once a model."""
        _install(model)
        block.register_forward_pre_hook(self.before_block)

    def before_block(self, block: nn.Module, args: object) -> None:
        """The block's pre-hook: another attention function would leave the soft tokens out, without an error."""
        current = str(getattr(getattr(block, "config", None), "_attn_implementation", None))
        if active_adapters_of(self) and not current.startswith(_NAME):
            raise MiloraError(
                "adapter/unsupported",
                f"The model's attention implementation was changed to {current!r} after soft tokens were attached; it "
                "would leave them out. Open the model with the implementation eager or sdpa, then attach the adapter.",
                found=current,
                allowed="eager, sdpa",
            )


class PrefixTuner(BlockTuner):
    """A tuner whose layers are prefix blocks."""

    def _prepare_model(self, peft_config: Any, model: nn.Module) -> None:
        super()._prepare_model(peft_config, model)
        assert isinstance(peft_config, PlannedConfig)
        tokens = getattr(peft_config, "tokens", 0)
        longest = getattr(getattr(model, "config", None), "max_position_embeddings", None)
        if longest is not None and tokens >= longest:
            raise MiloraError(
                "input/invalid-spec",
                f"method.tokens: found {tokens}, but the model's context has room for {longest} tokens, prompt and "
                f"answer included; allowed: 1 to {longest - 1}.",
                path="method.tokens",
                found=str(tokens),
                allowed=f"1 to {longest - 1}",
            )

    def _unload_and_optionally_merge(self, *args: Any, **kwargs: Any) -> Any:
        model = super()._unload_and_optionally_merge(*args, **kwargs)
        current = model.config._attn_implementation
        if current.startswith(_NAME):
            model.set_attn_implementation(current.removeprefix(_NAME))
        return model


def _install(model: Any) -> None:
    current: str = model.config._attn_implementation
    if current.startswith(_NAME):
        return
    if current not in ("eager", "sdpa"):
        raise MiloraError(
            "adapter/unsupported",
            f"Soft tokens need the attention implementation eager or sdpa; the model has {current!r}. Open it with "
            "another one.",
            found=current,
            allowed="eager, sdpa",
        )
    name = f"{_NAME}{current}"
    AttentionInterface.register(name, functools.partial(_attention, current))
    AttentionMaskInterface.register(name, ALL_MASK_ATTENTION_FUNCTIONS[current])
    model.set_attn_implementation(name)


def _attention(
    original: str, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **kwargs: Any
) -> Any:
    """The original attention function behind the soft tokens' keys and values, [B, H, P + T, K]."""
    function = _original(original, module)
    prefix = getattr(module, BLOCK_ATTRIBUTE, None)
    adapters = active_adapters_of(prefix) if isinstance(prefix, PrefixBlock) else []
    if not adapters:
        return function(module, query, key, value, mask, **kwargs)
    assert isinstance(prefix, PrefixBlock)
    pairs = [_keys_and_values(module, prefix.soft_tokens(adapter), key) for adapter in adapters]
    num_soft = sum(soft.shape[2] for soft, _ in pairs)
    if mask is None and query.shape[2] > 1 and _is_causal(original, module, kwargs.get("is_causal")):
        # Told in full, because the soft tokens are before the diagonal.
        mask = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool, device=key.device).tril()[None, None]
    if mask is not None:
        # Every token sees the soft tokens, whatever its window.
        seen = True if mask.dtype == torch.bool else 0.0
        mask = functional.pad(mask[..., : key.shape[2]], (num_soft, 0), value=seen)
    key = torch.cat([*(soft.expand(key.shape[0], -1, -1, -1) for soft, _ in pairs), key], dim=2)
    value = torch.cat([*(soft.expand(value.shape[0], -1, -1, -1) for _, soft in pairs), value], dim=2)
    return function(module, query, key, value, mask, **kwargs)


def _original(name: str, module: nn.Module) -> Callable[..., Any]:
    """The function that the model would call; eager attention is each architecture's own."""
    if name != "eager":
        return ALL_ATTENTION_FUNCTIONS[name]
    return sys.modules[type(module).__module__].eager_attention_forward


def _is_causal(name: str, module: nn.Module, given: bool | None) -> bool:
    """What a missing mask means: for sdpa causal, unless call or module say otherwise; for eager that all is seen."""
    return name == "sdpa" and bool(getattr(module, "is_causal", True) if given is None else given)


def _keys_and_values(module: Any, soft_BPD: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """Keys and values of soft tokens by the attention's own projections, [1 or B, H, P, K]."""
    soft_BPD = soft_BPD.to(like.dtype)
    heads, size = like.shape[1], like.shape[3]
    if hasattr(module, "k_proj") and hasattr(module, "v_proj"):
        keys, values = module.k_proj(soft_BPD), module.v_proj(soft_BPD)
    elif hasattr(module, "qkv_proj"):
        keys, values = module.qkv_proj(soft_BPD)[..., -2 * heads * size :].chunk(2, dim=-1)
    else:
        raise MiloraError(
            "adapter/unsupported",
            f"A {type(module).__name__} has no projections k_proj and v_proj, or qkv_proj, for soft tokens.",
            found=type(module).__name__,
        )
    norm = getattr(module, "k_norm", None)
    by_head = norm is not None and norm.weight.shape[-1] == size
    if norm is not None and not by_head:
        keys = norm(keys)
    keys = keys.unflatten(-1, (heads, size))
    keys = norm(keys) if norm is not None and by_head else keys
    return keys.transpose(1, 2), values.unflatten(-1, (heads, size)).transpose(1, 2)
