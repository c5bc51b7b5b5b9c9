"""A transformers decoder read into plain values, without a copy of its weights.

Known: Llama, Mistral, Qwen2, Qwen3, Gemma 2, Gemma 3 (text) and Phi-3. Whatever else a model has or does is refused by
name, so that a caller can go on with transformers' own forward pass.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from transformers import PreTrainedModel

from milora.engine.fused.norms import RmsNorm, read_head_norm, read_norm
from milora.engine.fused.projections import Projection, fuse
from milora.engine.fused.sites import Site, Sites, Slot
from milora.errors import MiloraError

QKV, OUTPUT, GATE_UP, DOWN = range(4)
"""A layer's projections, in the order of its forward pass."""

_SPLIT = (
    ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    ("self_attn.o_proj",),
    ("mlp.gate_proj", "mlp.up_proj"),
    ("mlp.down_proj",),
)
_JOINED = (("self_attn.qkv_proj",), ("self_attn.o_proj",), ("mlp.gate_up_proj",), ("mlp.down_proj",))


@dataclass(frozen=True)
class _Family:
    """What a family's forward pass does that its modules do not tell.

    ``gemma``: norms of 1 + weight, before and behind both blocks. ``window``: the config's sliding window holds for
    every layer. ``softcap``: attention scores are soft-capped.
    """

    modules: tuple[tuple[str, ...], ...] = _SPLIT
    gemma: bool = False
    window: bool = False
    softcap: bool = False


_FAMILIES: Mapping[str, _Family] = {
    "LlamaForCausalLM": _Family(),
    "MistralForCausalLM": _Family(window=True),
    "Qwen2ForCausalLM": _Family(),
    "Qwen3ForCausalLM": _Family(),
    "Gemma2ForCausalLM": _Family(gemma=True, softcap=True),
    "Gemma3ForCausalLM": _Family(gemma=True),
    "Phi3ForCausalLM": _Family(modules=_JOINED, window=True),
}
# Types whose frequencies do not change with the length of the text.
_ROPE_TYPES = ("default", "linear", "llama3", "yarn")
_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class LayerParts:
    """One decoder layer; ``after_attention`` and ``after_ffn`` are the norms behind the blocks, where there are any.

    ``rotary``: which of the decoder's rotary tables it takes. ``window``: how many tokens one sees, itself counted.
    """

    projections: tuple[Projection, ...]
    before_attention: RmsNorm
    after_attention: RmsNorm | None
    before_ffn: RmsNorm
    after_ffn: RmsNorm | None
    head_norm: RmsNorm | None
    rotary: str | None
    window: int | None


@dataclass(frozen=True)
class DecoderParts:
    """A decoder with its embedding and head."""

    layers: tuple[LayerParts, ...]
    sites: Sites
    embedding: nn.Module
    rotary: nn.Module
    activation: nn.Module
    final_norm: RmsNorm
    head: nn.Linear
    num_heads: int
    num_key_heads: int
    head_size: int
    attention_scale: float
    attention_softcap: float | None
    logit_softcap: float | None

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights and the states."""
        return self.sites.dtype

    @property
    def device(self) -> torch.device:
        """Of the weights."""
        return self.sites.device


def read_decoder(model: PreTrainedModel) -> DecoderParts:
    """Reads a decoder, fusing its projections; adapters that PEFT has put into the model are left out.

    Raises:
        MiloraError: ``model/unsupported``, which says what the engine doesn't know.
    """
    family = _family(model)
    causal: Any = model
    config, decoder = causal.config, causal.model
    _check_config(config)
    prefix = f"{causal.base_model_prefix}.layers"
    layers = tuple(_read_layer(layer, family, config, f"{prefix}.{i}") for i, layer in enumerate(decoder.layers))
    first = decoder.layers[0]
    head, attention = _linear(causal, "lm_head", ""), first.self_attn
    return DecoderParts(
        layers=layers,
        sites=Sites(
            layer_paths=tuple(f"{prefix}.{index}" for index in range(len(layers))),
            layers=tuple(_sites(layer, family) for layer in layers),
            num_groups=len(family.modules),
            vocabulary=head.out_features,
            dtype=head.weight.dtype,
            device=head.weight.device,
        ),
        embedding=_unwrapped(decoder.embed_tokens),
        rotary=decoder.rotary_emb,
        activation=first.mlp.activation_fn if family.modules is _JOINED else first.mlp.act_fn,
        final_norm=read_norm(decoder.norm, offset=family.gemma),
        head=head,
        num_heads=config.num_attention_heads,
        num_key_heads=config.num_key_value_heads,
        head_size=attention.head_dim,
        attention_scale=attention.scaling,
        attention_softcap=config.attn_logit_softcapping if family.softcap else None,
        logit_softcap=config.final_logit_softcapping if family.gemma else None,
    )


def _family(model: PreTrainedModel) -> _Family:
    name = type(model).__name__
    known = _FAMILIES.get(name)
    if known is None or not type(model).__module__.startswith("transformers.models."):
        raise _unsupported(f"it knows {', '.join(_FAMILIES)} of transformers, not {name}", name)
    return known


def _check_config(config: Any) -> None:
    rope = config.rope_parameters
    parameters = [rope] if "rope_type" in rope else [kind for kind in rope.values() if kind is not None]
    for kind in parameters:
        if kind["rope_type"] not in _ROPE_TYPES:
            found = str(kind["rope_type"])
            raise _unsupported(f"rotary embeddings of type {found} change with the length of the text", found)
    if getattr(config, "use_bidirectional_attention", False):
        raise _unsupported("its attention sees both directions", "use_bidirectional_attention")


def _read_layer(layer: Any, family: _Family, config: Any, path: str) -> LayerParts:
    attention = layer.self_attn
    offset = family.gemma
    heads = (config.num_attention_heads, config.num_key_value_heads)
    has_head_norm = hasattr(attention, "q_norm")
    own_window = getattr(attention, "sliding_window", None)
    # Gemma 3 has rotary frequencies of its own for each kind of layer.
    by_kind = "rope_type" not in config.rope_parameters
    return LayerParts(
        projections=tuple(fuse([_linear(layer, name, path) for name in group]) for group in family.modules),
        before_attention=read_norm(layer.input_layernorm, offset=offset),
        after_attention=read_norm(layer.post_attention_layernorm, offset=offset) if offset else None,
        before_ffn=read_norm(
            layer.pre_feedforward_layernorm if offset else layer.post_attention_layernorm, offset=offset
        ),
        after_ffn=read_norm(layer.post_feedforward_layernorm, offset=offset) if offset else None,
        head_norm=read_head_norm(attention.q_norm, attention.k_norm, heads, offset=offset) if has_head_norm else None,
        rotary=attention.layer_type if by_kind else None,
        window=config.sliding_window if family.window else own_window,
    )


def _sites(layer: LayerParts, family: _Family) -> dict[str, Site]:
    sites: dict[str, Site] = {}
    for group, names in enumerate(family.modules):
        projection = layer.projections[group]
        start = 0
        for name, size in zip(names, projection.sizes, strict=True):
            columns = slice(start, start + size)
            bias = None if projection.bias is None else projection.bias[columns]
            weight = projection.weight[columns]
            sites[name] = Site(
                Slot(group, start, start + size), weight.shape[1], functools.partial(_same, weight), bias
            )
            start += size
    return sites


def _same(weight: Tensor) -> Tensor:
    return weight


def _linear(parent: nn.Module, name: str, path: str) -> nn.Linear:
    module = _unwrapped(parent.get_submodule(name))
    where = f"{path}.{name}" if path else name
    if type(module) is not nn.Linear or module.weight.dtype not in _DTYPES:
        raise _unsupported(f"{where} is a {type(module).__name__}, no plain linear module", where)
    if "forward" in module.__dict__ or module._forward_hooks or module._forward_pre_hooks:
        raise _unsupported(f"{where} has hooks that the engine would leave out", where)
    if module.weight.device.type == "meta":
        raise _unsupported(f"{where} is not in memory", where)
    return module


def _unwrapped(module: nn.Module) -> nn.Module:
    if not isinstance(module, BaseTunerLayer):
        return module
    if module.merged:
        raise _unsupported("an adapter is merged into its weights", "merged")
    return module.get_base_layer()


def _unsupported(reason: str, found: str) -> MiloraError:
    return MiloraError(
        "model/unsupported",
        f"The fused engine can't run this model: {reason}.",
        found=found,
        hint="generate() runs it through transformers.",
    )
